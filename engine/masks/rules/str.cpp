// STR, soft threshold reparameterization (Kusupati et al. 2020): the optimizer trains a threshold
// for each layer (optim/soft_thresholds.h), and weights behind it are 0. The densities that it
// learns are not known before. So, at the fraction `end` of the schedule, the weights are pruned to
// the density, by magnitude over all layers together. The kept weights then train on without
// thresholds, so that they recover from the prune within the cycle.
//
// The first s. As long as a threshold is far below the weights, s follows its weight decay alone:
// s = str_init * exp(-weight_decay * sum of learning rates / (1 - momentum)). Thresholds matter
// from about s = -5 on. A good str_init gets there after a third or half of the cycle, when the
// network is trained well enough to resist. If s gets there too early, all weights of a layer may
// end up behind its threshold, and they then stay there.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.end = 0.9};

int64_t last_step(const SchedulePosition& position, const MaskOptions& options) {
  return step_at(in_effect(kOwn, options).end, position.steps);
}

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

}  // namespace

MaskRule rules::str() {
  return {
      .name = "str",
      .changes_density = true,
      .trains_thresholds = true,
      .changes_after = changes_after,
      .density_after = density_after,
      .change = change,
      .help = "trains a soft threshold for each layer, then prunes to the density and trains on",
      .source = "Kusupati et al. 2020",
      .reads = "masks.end masks.str_init"};
}

}  // namespace sculpt
