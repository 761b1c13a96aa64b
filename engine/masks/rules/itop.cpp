// ITOP with RigL's growth (Liu et al. 2021): RigL with a larger drop and long intervals, so that
// the weights that grow have time to become large. It never stops before the end of the schedule.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt::itop {
namespace {

constexpr RuleConstants kOwn = {.interval = 4000, .drop = 0.5, .end = 1};

}  // namespace

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return exchanges_after(position, in_effect(kOwn, options));
}

double density_after(const SchedulePosition&, const DensityRange& range, const MaskOptions&) {
  return range.start;
}

void change(MaskChange& change) {
  const MaskMoment& moment = change.moment();
  exchange(change, exchanged_fraction(moment.position, in_effect(kOwn, moment.options)),
           change.gradient_magnitudes());
}

}  // namespace sculpt::itop
