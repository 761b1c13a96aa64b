#include "engine/train/hooks/mask_hook.h"

#include <fmt/format.h>
#include <span>

#include "engine/masks/mask_change.h"
#include "engine/train/divergence.h"

namespace sculpt {
namespace {

/// Returns the number of prunable weights that are kept and are 0.
int64_t kept_zeros(const ParameterArena& parameters) {
  const auto count = [&]<class T>(std::span<const T> weights) {
    int64_t zeros = 0;
    for (const Parameter& p : parameters.parameters()) {
      if (!p.prunable) continue;
      const auto masks = ParameterArena::slice(parameters.masks(), p);
      const auto values = ParameterArena::slice(weights, p);
      for (size_t i = 0; i < masks.size(); ++i)
        zeros += masks[i] != 0 && values[i] == 0;
    }
    return zeros;
  };
  return parameters.element_bytes() == sizeof(double) ? count(parameters.weights<double>())
                                                      : count(parameters.weights<float>());
}

}  // namespace

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
  if (rule->trains_thresholds) end_thresholds(*rule);
}

void MaskHook::end_thresholds(const MaskRule& rule) {
  ParameterArena& parameters = run_.parameters();
  run_.optimizer->soft_thresholds()->end();
  const int64_t zeros = kept_zeros(parameters);
  if (zeros == 0) return;
  const int64_t kept = parameters.kept_count();
  run_.parts.observer.on_warning(fmt::format(
      "{} keeps {} weights to reach its density, but its thresholds have left only {} that are not "
      "0; the others are kept at 0, those with the lowest indices; lower masks.str_init or "
      "optim.weight_decay, so that the thresholds stay lower",
      rule.name, kept, kept - zeros));
}

}  // namespace sculpt
