#pragma once
// Learning-rate schedules are pure functions of (step, steps of the cycle, options).
//
// Every name below is a row of the table. In the formulas, t = step / T lies in [0, 1), w is
// warmup, and lr is the peak.
//
//   step_warmup  t < w: lr * (a + (1 - a) * t / w), a = warmup_start (0.1); afterwards
//                lr * milestone_factor ^ (number of milestones m with step >= round(m * T))
//   triangular   t < 0.2: lr * (0.2 + 0.8 * t / 0.2); afterwards lr * (1 - t) / 0.8
//   cosine       warm-up as above; afterwards lr / 2 * (1 + cos(pi * (t - w) / (1 - w)))
//                (Loshchilov & Hutter 2017)
//   one_cycle    cosine from lr / 25 to lr at t = 0.3, then cosine to lr / 250000 (Smith & Topin
//                2019, with the constants that PyTorch's OneCycleLR has by default)
//   trapezoidal  warm-up as above, lr, and lr * (1 - t) / cooldown for t > 1 - cooldown
//   constant     lr
//   linear       lr * (1 - t)

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/optim/optim_options.h"

namespace sculpt {

/// Returns the learning rate of step `step` (from 0) of a cycle of `steps` steps.
using LrScheduleFunction = double (*)(int64_t step, int64_t steps, const OptimOptions& options);

struct LrSchedule {
  std::string_view name;
  LrScheduleFunction function;
  std::string_view help;
  /// Config keys that the schedule depends on besides optim.lr, separated by spaces.
  std::string_view reads;
};

std::span<const LrSchedule> lr_schedules();

/// Returns the learning rate of the schedule that options.schedule names. Throws Error if the name
/// is unknown or the step is outside [0, steps).
double learning_rate(int64_t step, int64_t steps, const OptimOptions& options);

/// Checks what ranges cannot express: milestones in increasing order, warmup + cooldown <= 1,
/// Nesterov momentum above 0, Sign-In with the rule "sgd" and without HAM. Throws Error otherwise.
void validate(const OptimOptions& options);

}  // namespace sculpt
