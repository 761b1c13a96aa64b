#pragma once
// The schedules that rules share. All functions are pure.

#include <cstdint>

#include "engine/masks/mask_rule.h"

namespace sculpt {

/// The constants of a rule: its own, or those that the config sets instead.
struct RuleConstants {
  int64_t interval = 0;
  double drop = 0;
  double begin = 0;
  double end = 0;
};

/// The fraction of the schedule at which gmp and granet reach their density if the config does not
/// set it.
inline constexpr double kGradualEnd = 0.75;

/// Returns the constants in effect: those of the config where it sets them, and the rule's own
/// elsewhere.
RuleConstants in_effect(const RuleConstants& own, const MaskOptions& options);

/// Returns the number of the step that ends at this fraction of the schedule, at least 1.
int64_t step_at(double fraction, int64_t steps);

/// Returns from + (to - from) * (1 - cos(pi * x)) / 2 for x in [0, 1], and `to` above.
double cosine_between(double from, double to, double x);

/// Prunes on the way from one density to another. The window between the fractions `begin` and
/// `end` of the schedule has a prune after every `interval` steps and one at its end, which reaches
/// the target even if `interval` does not divide the window.
bool prunes_gradually_after(const SchedulePosition& position, const RuleConstants& constants);

/// Returns the density after the last of these prunes. The sparsity s follows the cubic schedule
/// s = s_i + (s_f - s_i)(1 - (1 - tau)^3), where tau goes from 0 to 1 in the window (Zhu and Gupta
/// 2017). At the end of the window the density is exactly the target.
double gradual_density_after(const SchedulePosition& position, const DensityRange& range,
                             const RuleConstants& constants);

/// Returns true if a rule that changes masks every `interval` steps, before the fraction `end` of
/// the schedule, does so after this step.
bool exchanges_after(const SchedulePosition& position, const RuleConstants& constants);

/// Returns the density of a rule that keeps the density: that of the beginning of the cycle.
double keeps_density(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options);

/// Returns the fraction of the kept weights of a layer that such a change drops: a cosine from
/// `drop` at the beginning of the schedule to 0 at the fraction `end`.
double exchanged_fraction(const SchedulePosition& position, const RuleConstants& constants);

}  // namespace sculpt
