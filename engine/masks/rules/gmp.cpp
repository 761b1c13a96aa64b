// GMP, gradual magnitude pruning (Zhu and Gupta 2017): on the way from the density at which the
// cycle began to the target, the smallest weights of all layers together are masked every
// `interval` steps. Masked weights stay masked.

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.interval = 100, .end = kGradualEnd};

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return prunes_gradually_after(position, in_effect(kOwn, options));
}

double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options) {
  return gradual_density_after(position, range, in_effect(kOwn, options));
}

void change(MaskChange& change) {
  const MaskMoment& moment = change.moment();
  prune_to(change, density_after(moment.position, moment.range, moment.options));
}

}  // namespace

MaskRule rules::gmp() {
  return {
      .name = "gmp",
      .changes_density = true,
      .changes_after = changes_after,
      .density_after = density_after,
      .change = change,
      .help =
          "gradual magnitude pruning: a cubic schedule to the density, over all layers together",
      .source = "Zhu & Gupta 2017",
      .reads = "masks.interval masks.begin masks.end"};
}

}  // namespace sculpt
