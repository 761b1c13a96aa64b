#include "engine/masks/rule_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sculpt {
namespace {

/// The steps between which a rule prunes gradually: it prunes after steps in (begin, end].
struct Window {
  int64_t begin = 0;
  int64_t end = 1;
};

Window window_of(const SchedulePosition& position, const RuleConstants& constants) {
  const int64_t end = step_at(constants.end, position.steps);
  const auto begin =
      static_cast<int64_t>(std::llround(constants.begin * static_cast<double>(position.steps)));
  return {std::min(begin, end - 1), end};
}

/// Returns the last step up to position.done after which a prune belongs; at most window.begin if
/// there is none.
int64_t last_prune(const SchedulePosition& position, const Window& window, int64_t interval) {
  if (position.done >= window.end) return window.end;
  const int64_t since = position.done - window.begin;
  return since < 0 ? window.begin : position.done - since % interval;
}

}  // namespace

RuleConstants in_effect(const RuleConstants& own, const MaskOptions& options) {
  const auto or_own = [](auto set, auto constant) { return set != 0 ? set : constant; };
  return {or_own(options.interval, own.interval), or_own(options.drop, own.drop),
          or_own(options.begin, own.begin), or_own(options.end, own.end)};
}

int64_t step_at(double fraction, int64_t steps) {
  const auto step = static_cast<int64_t>(std::llround(fraction * static_cast<double>(steps)));
  return std::clamp<int64_t>(step, 1, std::max<int64_t>(steps, 1));
}

double cosine_between(double from, double to, double x) {
  if (x >= 1) return to;
  return to + (from - to) * (1 + std::cos(std::numbers::pi * x)) / 2;
}

bool prunes_gradually_after(const SchedulePosition& position, const RuleConstants& constants) {
  const Window window = window_of(position, constants);
  if (position.done <= window.begin || position.done > window.end) return false;
  return position.done == last_prune(position, window, constants.interval);
}

double gradual_density_after(const SchedulePosition& position, const DensityRange& range,
                             const RuleConstants& constants) {
  const Window window = window_of(position, constants);
  const int64_t step = last_prune(position, window, constants.interval);
  if (step <= window.begin || step <= position.first) return range.start;
  if (step == window.end) return range.target;
  const double tau =
      static_cast<double>(step - window.begin) / static_cast<double>(window.end - window.begin);
  return range.start + (range.target - range.start) * (1 - std::pow(1 - tau, 3));
}

bool exchanges_after(const SchedulePosition& position, const RuleConstants& constants) {
  return position.fraction() < constants.end && position.done % constants.interval == 0;
}

double keeps_density(const SchedulePosition&, const DensityRange& range, const MaskOptions&) {
  return range.start;
}

double exchanged_fraction(const SchedulePosition& position, const RuleConstants& constants) {
  return cosine_between(constants.drop, 0, position.fraction() / constants.end);
}

}  // namespace sculpt
