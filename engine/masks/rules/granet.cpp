// GraNet (Liu et al. 2021): prunes as gmp does. After each prune, a fraction of the kept weights of
// each layer, those with the smallest magnitudes, is dropped, and as many weights are grown, those
// with the largest gradients. The fraction falls from `drop` to a hundredth of it, as a cosine over
// the whole schedule (.5 to .005).

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

constexpr RuleConstants kOwn = {.interval = 100, .drop = 0.5, .end = kGradualEnd};

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  return prunes_gradually_after(position, in_effect(kOwn, options));
}

double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options) {
  return gradual_density_after(position, range, in_effect(kOwn, options));
}

void change(MaskChange& change) {
  const MaskMoment& moment = change.moment();
  const double drop = in_effect(kOwn, moment.options).drop;
  prune_to(change, density_after(moment.position, moment.range, moment.options));
  exchange(change, cosine_between(drop, drop / 100, moment.position.fraction()),
           change.gradient_magnitudes());
}

}  // namespace

MaskRule rules::granet() {
  return {.name = "granet",
          .changes_density = true,
          .grows_back = true,
          .reads_gradients = true,
          .changes_after = changes_after,
          .density_after = density_after,
          .change = change,
          .help = "gmp that exchanges weights of each layer by gradient after each prune",
          .source = "Liu et al. 2021",
          .reads = "masks.interval masks.drop masks.begin masks.end"};
}

}  // namespace sculpt
