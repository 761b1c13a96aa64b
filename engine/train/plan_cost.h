#pragma once
// What a plan costs, before it runs (methods.md, section 6, counted per image at each step's
// densities).

#include <vector>

#include "engine/nn/network.h"
#include "engine/train/plan.h"

namespace sculpt {

struct PlanStepCost {
  double density = 1;  ///< after the step
  int64_t epochs = 0;  ///< trained by it
  double flops = 0;    ///< of training
};

struct PlanCost {
  std::vector<PlanStepCost> steps;
  int64_t epochs = 0;
  double flops = 0;
  /// Which layers a global ranking prunes is known only when it runs: until then each layer is
  /// assumed to lose the same fraction. False if no step needs that assumption.
  bool estimated = false;
};

/// The plan begins at the masks of `network`; `train_images` per epoch.
PlanCost plan_cost(const Plan& plan, const Network& network, int64_t train_images);

}  // namespace sculpt
