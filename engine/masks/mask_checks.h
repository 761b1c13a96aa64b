#pragma once
// Checks of the rules of a plan before it runs.

#include <cstdint>
#include <string>

#include "engine/masks/mask_rule.h"

namespace sculpt {

/// Throws Error that names the key and the fix if a setting is not usable whatever the plan is:
/// fractions of gmp's window or of acdc's phases that are not in order.
void validate(const MaskOptions& options);

/// A cycle that trains with a rule, in training steps.
struct RuleCycle {
  int64_t steps = 1;  ///< length of the schedule
  int64_t first = 0;  ///< steps of the schedule that are left out
  DensityRange range;
};

/// Returns the number of changes of masks in the cycle. Takes one look at each step.
int64_t count_changes(const MaskRule& rule, const RuleCycle& cycle, const MaskOptions& options);

/// Throws Error that says why and what helps if the rule cannot reach the density of the cycle.
void require_reachable(const MaskRule& rule, const RuleCycle& cycle, const MaskOptions& options);

/// Fewer changes than this hardly train another network than a fixed mask or a single prune.
inline constexpr int64_t kFewChanges = 20;

/// Returns a warning that suggests an interval if the cycle has fewer changes than kFewChanges
/// and a shorter interval would give more; "" otherwise.
std::string few_changes_warning(const MaskRule& rule, const RuleCycle& cycle,
                                const MaskOptions& options);

}  // namespace sculpt
