// SET (Mocanu et al. 2018), with the decaying fraction of RigL's comparison (Evci et al. 2020):
// every `interval` steps, until the fraction `end` of the schedule, the smallest weights of each
// layer are dropped, and as many weights are grown at random.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.interval = 100, .drop = 0.3, .end = 0.75};

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return exchanges_after(position, in_effect(kOwn, options));
}

void change(MaskChange& change) {
  exchange_by_schedule(change, kOwn, change.random());
}

}  // namespace

MaskRule rules::set() {
  return {.name = "set",
          .grows_back = true,
          .changes_after = changes_after,
          .density_after = keeps_density,
          .change = change,
          .help = "per layer, exchanges the smallest weights for random ones",
          .source = "Mocanu et al. 2018",
          .reads = "masks.interval masks.drop masks.end"};
}

}  // namespace sculpt
