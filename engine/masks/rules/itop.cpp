// ITOP with RigL's growth (Liu et al. 2021): RigL with a larger drop and long intervals, so that
// the weights that grow have time to become large. It never stops before the end of the schedule.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.interval = 4000, .drop = 0.5, .end = 1};

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return exchanges_after(position, in_effect(kOwn, options));
}

void change(MaskChange& change) {
  exchange_by_schedule(change, kOwn, change.gradient_magnitudes());
}

}  // namespace

MaskRule rules::itop() {
  return {.name = "itop",
          .grows_back = true,
          .reads_gradients = true,
          .changes_after = changes_after,
          .density_after = keeps_density,
          .change = change,
          .help =
              "rigl with larger changes that never stop (with SET's growth: set, masks.drop 0.5, "
              "masks.end 1)",
          .source = "Liu et al. 2021",
          .reads = "masks.interval masks.drop masks.end"};
}

}  // namespace sculpt
