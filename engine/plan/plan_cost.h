#pragma once
// Computes the cost of a plan before it runs: the FLOPs of nn/cost.h at the density of each step.

#include <string>
#include <vector>

#include "engine/nn/network.h"
#include "engine/plan/plan.h"

namespace sculpt {

struct PlanStepCost {
  double density = 1;  ///< density after the step
  int64_t epochs = 0;  ///< epochs that the step trains
  double flops = 0;    ///< training FLOPs of the step
  /// Kept weights of each prunable layer after the step, in the order of the parameters.
  std::vector<int64_t> kept;
  /// The layers that keep no weight after the step. Known only after prunes whose counts per layer
  /// do not depend on scores.
  std::vector<std::string> empty_layers;
};

struct PlanCost {
  std::vector<PlanStepCost> steps;
  int64_t epochs = 0;
  double flops = 0;
  /// True if the cost is an estimate. The layers from which a global ranking takes weights are
  /// known only when it runs. Until then each layer is assumed to lose the same fraction.
  bool estimated = false;
};

/// Computes the cost of a plan that begins with the masks of `network`; an epoch has `train_images`
/// images. Throws Error naming the step if a prune keeps no weight or cannot keep as many as it
/// should.
PlanCost plan_cost(const Plan& plan, const Network& network, int64_t train_images);

}  // namespace sculpt
