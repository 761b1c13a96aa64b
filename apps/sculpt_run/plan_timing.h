#pragma once
// Estimates how long the cycles of a plan will take, from a few steps at each cycle's density.

#include <vector>

#include "apps/sculpt_run/experiment.h"
#include "engine/plan/plan_cost.h"

namespace sculpt {

/// Seconds per image.
struct ImageSeconds {
  double train = 0;
  double test = 0;
};

struct PlanTiming {
  std::vector<ImageSeconds> steps;  ///< for each step of the plan, at its mean density
  int64_t densities = 0;            ///< number of densities at which the plan trains
  int64_t timed = 0;  ///< number of densities that were timed; the others are interpolated
};

/// Times training and evaluation on the kernels that the run would use, with random masks that keep
/// as many weights of each layer as the plan does. After some seconds no further density is timed,
/// and the rest are interpolated. Overwrites the network's weights and masks.
PlanTiming time_plan(Experiment& experiment, const OptimOptions& optim, const PlanCost& cost);

/// Returns the estimated seconds of a step of a plan: its epochs of `images` training images, and
/// an evaluation on `test_images` every `eval_every` epochs.
double step_seconds(const PlanStepCost& cost, const ImageSeconds& timing, int64_t images,
                    int64_t test_images, int64_t eval_every);

}  // namespace sculpt
