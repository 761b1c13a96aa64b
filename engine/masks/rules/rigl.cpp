// RigL (Evci et al. 2020): every `interval` steps, until the fraction `end` of the schedule, the
// smallest weights of each layer are dropped, and as many weights are grown, those with the largest
// gradients of the step that has ended.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt::rigl {
namespace {

constexpr RuleConstants kOwn = {.interval = 100, .drop = 0.3, .end = 0.75};

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

}  // namespace sculpt::rigl
