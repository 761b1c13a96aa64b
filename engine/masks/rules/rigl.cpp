// RigL (Evci et al. 2020): every `interval` steps, until the fraction `end` of the schedule, the
// smallest weights of each layer are dropped, and as many weights are grown, those with the largest
// gradients of the step that has ended.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.interval = 100, .drop = 0.3, .end = 0.75};

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return exchanges_after(position, in_effect(kOwn, options));
}

void change(MaskChange& change) {
  exchange_by_schedule(change, kOwn, change.gradient_magnitudes());
}

}  // namespace

MaskRule rules::rigl() {
  return {.name = "rigl",
          .grows_back = true,
          .reads_gradients = true,
          .changes_after = changes_after,
          .density_after = keeps_density,
          .change = change,
          .help = "per layer, exchanges the smallest weights for those with the largest gradients",
          .source = "Evci et al. 2020",
          .reads = "masks.interval masks.drop masks.end"};
}

}  // namespace sculpt
