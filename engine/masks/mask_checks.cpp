#include "engine/masks/mask_checks.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/masks/rule_schedule.h"

namespace sculpt {
namespace {

/// Throws Error unless the fractions are, in turn, those of a sparse and of a dense phase,
/// beginning and ending with a sparse one.
void require_turns(const std::vector<double>& sparse, const std::vector<double>& dense) {
  if (sparse.empty() && dense.empty()) return;
  if (sparse.empty())
    fail("masks.dense_from is set without masks.sparse_from; set both, or none of them");
  if (sparse.size() != dense.size() + 1)
    fail(
        "masks.sparse_from has {} and masks.dense_from {} fractions; acdc begins and ends with a "
        "sparse phase, so give masks.sparse_from one more than masks.dense_from",
        sparse.size(), dense.size());
  for (size_t i = 0; i < dense.size(); ++i)
    if (!(sparse[i] < dense[i] && dense[i] < sparse[i + 1]))
      fail(
          "masks.dense_from has {} where it should lie between {} and {} of masks.sparse_from; the "
          "phases of acdc take turns",
          dense[i], sparse[i], sparse[i + 1]);
}

SchedulePosition position_in(const RuleCycle& cycle, int64_t done) {
  return {.done = done, .steps = cycle.steps, .first = cycle.first};
}

/// Returns the longest of the intervals 1, 2, 5, 10, 20, 50, ... with enough changes; 1 if none
/// has.
int64_t interval_with_enough_changes(const MaskRule& rule, const RuleCycle& cycle,
                                     MaskOptions options) {
  int64_t best = 1;
  for (int64_t decade = 1; decade <= cycle.steps; decade *= 10)
    for (const int64_t factor : {1, 2, 5}) {
      options.interval = decade * factor;
      if (count_changes(rule, cycle, options) < kFewChanges) return best;
      best = options.interval;
    }
  return best;
}

}  // namespace

void validate(const MaskOptions& options) {
  require_turns(options.sparse_from, options.dense_from);
}

int64_t count_changes(const MaskRule& rule, const RuleCycle& cycle, const MaskOptions& options) {
  int64_t changes = 0;
  for (int64_t done = cycle.first + 1; done <= cycle.steps; ++done)
    changes += rule.changes_after(position_in(cycle, done), options);
  return changes;
}

void require_reachable(const MaskRule& rule, const RuleCycle& cycle, const MaskOptions& options) {
  if (!rule.changes_density) return;
  const double window_end = options.end != 0 ? options.end : kGradualEnd;
  const bool reads_begin = rule.reads.find("masks.begin") != std::string_view::npos;
  if (reads_begin && options.begin >= window_end)
    fail("masks.begin = {} is not below masks.end = {}; lower it", options.begin, window_end);
  const double end = rule.density_after(position_in(cycle, cycle.steps), cycle.range, options);
  if (end == cycle.range.target) return;
  // AC/DC also fails if its network has too few weights for the only prune that is left.
  const bool late = cycle.range.start > cycle.range.target;
  const bool has_window = rule.reads.find("masks.end") != std::string_view::npos;
  fail(
      "{} ends with density {} instead of {}: the cycle begins at step {} of {} of its schedule, "
      "and {}",
      rule.name, end, cycle.range.target, cycle.first, cycle.steps,
      has_window ? "the last prune comes before that; raise masks.end, or begin the cycle earlier"
      : late
          ? "its last sparse phase begins before that; begin the cycle earlier, or raise the last "
            "fraction of masks.sparse_from"
          : "its network has too few weights for the only prune that is left; begin the cycle "
            "earlier, or add a dense phase to masks.dense_from");
}

std::string few_changes_warning(const MaskRule& rule, const RuleCycle& cycle,
                                const MaskOptions& options) {
  if (rule.reads.find("masks.interval") == std::string_view::npos) return "";
  const int64_t changes = count_changes(rule, cycle, options);
  if (changes >= kFewChanges) return "";
  MaskOptions other = options;
  other.interval = interval_with_enough_changes(rule, cycle, options);
  const int64_t more = count_changes(rule, cycle, other);
  if (more <= changes) return "";
  return fmt::format(
      "{} {} in {} steps; masks.interval = {} would give {} changes", rule.name,
      changes == 0 ? "never changes masks"
                   : fmt::format("changes masks only {} time{}", changes, changes == 1 ? "" : "s"),
      cycle.steps - cycle.first, other.interval, more);
}

}  // namespace sculpt
