#pragma once
// What a plan costs, before it runs: the FLOPs of nn/cost.h at the densities of each step.

#include <string>
#include <vector>

#include "engine/nn/network.h"
#include "engine/plan/plan.h"

namespace sculpt {

struct PlanStepCost {
  double density = 1;  ///< after the step
  int64_t epochs = 0;  ///< trained by it
  double flops = 0;    ///< of training
  /// Kept weights of each prunable layer after the step, in the order of the parameters.
  std::vector<int64_t> kept;
  /// After a prune whose shares are known beforehand: layers that keep no weight.
  std::vector<std::string> empty_layers;
};

struct PlanCost {
  std::vector<PlanStepCost> steps;
  int64_t epochs = 0;
  double flops = 0;
  /// Which layers a global ranking prunes is known only when it runs: until then each layer is
  /// assumed to lose the same fraction. False if no step needs that assumption.
  bool estimated = false;
};

/// The plan begins at the masks of `network`; `train_images` per epoch. Throws Error naming the
/// step if a prune keeps no weight or cannot keep as many as it should.
PlanCost plan_cost(const Plan& plan, const Network& network, int64_t train_images);

}  // namespace sculpt
