#pragma once
// Computes the cost of a plan before it runs: the FLOPs of nn/cost.h at the density of each
// training step.

#include <functional>
#include <string>
#include <vector>

#include "engine/masks/mask_options.h"
#include "engine/nn/network.h"
#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

/// The settings on which the cost of a plan depends, besides the plan and the network.
struct CostSettings {
  int64_t images = 0;  ///< training images of an epoch
  int64_t batch = 1;   ///< images of a step; the last step of an epoch may have fewer
  MaskOptions masks = {};
  /// Returns what a step of the plan loads, or null if that is not known.
  std::function<const StoredNetwork*(const Intervention& step)> stored = {};

  int64_t steps_per_epoch() const { return (images + batch - 1) / batch; }
};

struct PlanStepCost {
  double density = 1;  ///< density after the step
  int64_t epochs = 0;  ///< epochs that the step trains
  double flops = 0;    ///< training FLOPs of the step
  /// Mean over the training steps of the density at which they are computed; 0 if the step of the
  /// plan trains nothing.
  double mean_density = 0;
  /// Kept weights of each prunable layer after the step, in the order of the parameters.
  std::vector<int64_t> kept;
  /// The mean of these counts over the training steps, rounded; empty if the step trains nothing.
  std::vector<int64_t> mean_kept;
  /// The layers that keep no weight after the step. Known only after prunes whose counts per layer
  /// do not depend on scores.
  std::vector<std::string> empty_layers;
};

struct PlanCost {
  std::vector<PlanStepCost> steps;
  int64_t epochs = 0;
  double flops = 0;
  double mean_density = 1;  ///< over all training steps
  /// True if the cost is an estimate. The layers from which a global ranking takes weights are
  /// known only when it runs. Until then each layer is assumed to lose the same fraction.
  bool estimated = false;
};

/// Computes the cost of a plan that begins with the masks of `network`. A step whose masks change
/// by gradients computes the gradients of all weights, which counts. Throws Error naming the step
/// of the plan if it keeps no weight or cannot keep as many as it should.
PlanCost plan_cost(const Plan& plan, const Network& network, const CostSettings& settings);

}  // namespace sculpt
