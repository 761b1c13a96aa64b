#pragma once
// Makes the optimizer of a run.

#include <memory>

#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"

namespace sculpt {

/// Makes the optimizer with everything that the plan needs, and adds all its arrays to the arena. A
/// state of the run can be written or read once the arena has these arrays.
inline std::unique_ptr<Optimizer> make_run_optimizer(const OptimizerMaker& make,
                                                     ParameterArena& parameters,
                                                     const OptimOptions& options,
                                                     const Plan& plan) {
  std::unique_ptr<Optimizer> optimizer = make(parameters, options);
  if (trains_thresholds(plan)) optimizer->add_soft_thresholds();
  return optimizer;
}

}  // namespace sculpt
