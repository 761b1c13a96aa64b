// STR, soft threshold reparameterization (Kusupati et al. 2020): the optimizer trains a threshold
// for each layer (optim/soft_thresholds.h), and weights behind it are 0. The densities that it
// learns are not known before. So, at the fraction `end` of the schedule, the weights are pruned to
// the density, by magnitude over all layers together. The kept weights then train on without
// thresholds, so that they recover from the prune within the cycle.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt::str {
namespace {

constexpr RuleConstants kOwn = {.end = 0.9};

int64_t last_step(const SchedulePosition& position, const MaskOptions& options) {
  return step_at(in_effect(kOwn, options).end, position.steps);
}

}  // namespace

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return position.done == last_step(position, options);
}

double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options) {
  const int64_t last = last_step(position, options);
  return position.first < last && last <= position.done ? range.target : range.start;
}

void change(MaskChange& change) {
  prune_to(change, change.moment().range.target);
}

}  // namespace sculpt::str
