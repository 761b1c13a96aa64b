#include "engine/train/hooks/mask_hook.h"

#include "engine/masks/mask_change.h"
#include "engine/train/divergence.h"

namespace sculpt {

SchedulePosition MaskHook::position_after(int64_t epoch_step) const {
  const Cycle& cycle = run_.cycle();
  const int64_t per_epoch = run_.parts.train.steps_per_epoch();
  const int64_t epoch = cycle.first_epoch + run_.state.cycle_epoch;
  return {.done = epoch * per_epoch + epoch_step,
          .steps = cycle.epochs * per_epoch,
          .first = cycle.first_epoch * per_epoch};
}

bool MaskHook::changes_after(const MaskRule& rule, const SchedulePosition& position) const {
  return rule.changes_after(position, run_.settings.masks);
}

void MaskHook::before_step(HookContext&) {
  const MaskRule* const rule = run_.mask_rule();
  if (rule == nullptr || !rule->reads_gradients) return;
  if (changes_after(*rule, position_after(run_.state.epoch_step + 1)))
    run_.parameters().full_gradients().request();
}

void MaskHook::after_step(HookContext&) {
  const MaskRule* const rule = run_.mask_rule();
  if (rule == nullptr) return;
  const SchedulePosition position = position_after(run_.state.epoch_step);
  if (!changes_after(*rule, position)) return;
  const double start = run_.state.cycle_density;
  const DensityRange range{start, rule->changes_density ? run_.cycle().density : start};
  MaskChange change(
      run_.parameters(),
      {position, range, run_.settings.masks, run_.settings.identity.seed, run_.state.steps},
      [this] { run_.optimizer->reset(); });
  try {
    rule->change(change);
  } catch (const ScoreNotANumber& error) {
    throw Divergence(error.what());
  }
  change.apply();
}

}  // namespace sculpt
