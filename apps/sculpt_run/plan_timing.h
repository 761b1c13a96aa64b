#pragma once
// How long the cycles of a plan will take: a few steps, timed at each cycle's densities.

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
  std::vector<ImageSeconds> steps;  ///< per step of the plan, at the densities after it
  int64_t densities = 0;            ///< at which the plan trains
  int64_t timed = 0;                ///< of these; the others lie between their neighbours
};

/// Times training and evaluation on the kernels that the run would use, with random masks of the
/// layers' kept weights. Stops to time further densities after some seconds: those left are
/// interpolated. The network's weights and masks are spoilt.
PlanTiming time_plan(Experiment& experiment, const OptimOptions& optim, const PlanCost& cost);

}  // namespace sculpt
