#include "engine/optim/lr_schedule.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/registry.h"

namespace sculpt {

namespace {

constexpr double kPi = 3.14159265358979323846;

double fraction(int64_t step, int64_t steps) {
  return static_cast<double>(step) / static_cast<double>(steps);
}

/// Returns a value that goes from `from` to `to` along half a cosine while x goes from 0 to 1.
double cosine_between(double from, double to, double x) {
  return to + (from - to) * 0.5 * (1 + std::cos(kPi * x));
}

double warmup_factor(double t, const OptimOptions& o) {
  return t < o.warmup ? o.warmup_start + (1 - o.warmup_start) * t / o.warmup : 1.0;
}

double step_warmup(int64_t step, int64_t steps, const OptimOptions& o) {
  const double t = fraction(step, steps);
  double lr = o.lr * warmup_factor(t, o);
  for (const double milestone : o.milestones) {
    // A milestone is rounded to a number of steps, so that a fraction like 60/150 of 300 is exactly
    // step 120.
    const double at = std::round(milestone * static_cast<double>(steps));
    if (static_cast<double>(step) >= at) lr *= o.milestone_factor;
  }
  return lr;
}

double triangular(int64_t step, int64_t steps, const OptimOptions& o) {
  const double t = fraction(step, steps);
  return o.lr * (t < 0.2 ? 0.2 + 0.8 * t / 0.2 : (1 - t) / 0.8);
}

double cosine(int64_t step, int64_t steps, const OptimOptions& o) {
  const double t = fraction(step, steps);
  if (t < o.warmup) return o.lr * warmup_factor(t, o);
  return o.lr * cosine_between(1, 0, (t - o.warmup) / (1 - o.warmup));
}

double one_cycle(int64_t step, int64_t steps, const OptimOptions& o) {
  constexpr double kRise = 0.3, kStart = 1.0 / 25, kEnd = kStart / 1e4;
  const double t = fraction(step, steps);
  if (t < kRise) return o.lr * cosine_between(kStart, 1, t / kRise);
  return o.lr * cosine_between(1, kEnd, (t - kRise) / (1 - kRise));
}

double trapezoidal(int64_t step, int64_t steps, const OptimOptions& o) {
  const double t = fraction(step, steps);
  if (t < o.warmup) return o.lr * warmup_factor(t, o);
  return t > 1 - o.cooldown ? o.lr * (1 - t) / o.cooldown : o.lr;
}

double constant(int64_t, int64_t, const OptimOptions& o) {
  return o.lr;
}

double linear(int64_t step, int64_t steps, const OptimOptions& o) {
  return o.lr * (1 - fraction(step, steps));
}

constexpr auto kSchedules = std::to_array<LrSchedule>({
    {"step_warmup", step_warmup, "linear warm-up, then a drop at each milestone",
     "optim.warmup optim.warmup_start optim.milestones optim.milestone_factor"},
    {"triangular", triangular, "up from 0.2 lr for a fifth of the cycle, then down to 0", ""},
    {"cosine", cosine, "linear warm-up, then half a cosine to 0",
     "optim.warmup optim.warmup_start"},
    {"one_cycle", one_cycle, "cosine up for 30 % of the cycle, cosine down to almost 0", ""},
    {"trapezoidal", trapezoidal, "linear warm-up, constant, linear cool-down to 0",
     "optim.warmup optim.warmup_start optim.cooldown"},
    {"constant", constant, "always lr", ""},
    {"linear", linear, "from lr down to 0", ""},
});

}  // namespace

std::span<const LrSchedule> lr_schedules() {
  return kSchedules;
}

std::vector<std::string> lr_schedule_names() {
  return names_of(kSchedules);
}

double learning_rate(int64_t step, int64_t steps, const OptimOptions& options) {
  SCULPT_CHECK(step >= 0 && step < steps, "step {} is outside a cycle of {} steps", step, steps);
  return find_row(kSchedules, options.schedule, "learning-rate schedule")
      .function(step, steps, options);
}

void validate(const OptimOptions& options) {
  if (!std::ranges::is_sorted(options.milestones))
    fail("optim.milestones must be in increasing order, but is [{}]",
         fmt::join(options.milestones, ", "));
  if (options.schedule == "trapezoidal" && options.warmup + options.cooldown > 1)
    fail("optim.warmup {} and optim.cooldown {} are together more than the whole cycle; lower one",
         options.warmup, options.cooldown);
  if (options.rule == "sgd" && options.nesterov && options.momentum == 0)
    fail("optim.nesterov needs optim.momentum above 0");
  if (options.sign_in > 0 && options.rule != "sgd")
    fail(
        "optim.sign_in trains the factors of weights with SGD and does not work with optim.rule = "
        "\"{}\"; set optim.rule = \"sgd\" or optim.sign_in = 0",
        options.rule);
  if (options.sign_in > 0 && options.ham)
    fail(
        "optim.sign_in and optim.ham do not work together; set optim.ham = false or optim.sign_in "
        "= 0");
}

}  // namespace sculpt
