#include "engine/train/hooks/mask_hook.h"

#include <fmt/format.h>
#include <span>
#include <string>
#include <string_view>

#include "engine/masks/mask_change.h"
#include "engine/train/divergence.h"

namespace sculpt {
namespace {

/// Returns the number of prunable weights that are not 0.
int64_t nonzero_weights(const ParameterArena& parameters) {
  const auto count = [&]<class T>(std::span<const T> weights) {
    int64_t nonzero = 0;
    for (const Parameter& p : parameters.parameters())
      if (p.prunable)
        for (const T w : ParameterArena::slice(weights, p))
          nonzero += w != 0;
    return nonzero;
  };
  return parameters.element_bytes() == sizeof(double) ? count(parameters.weights<double>())
                                                      : count(parameters.weights<float>());
}

/// Returns a warning if the trained thresholds have left fewer weights than the prune keeps, or
/// more than twice as many; "" otherwise.
std::string threshold_warning(std::string_view rule, int64_t left, int64_t kept) {
  if (left < kept)
    return fmt::format(
        "{} keeps {} weights to reach its density, but its thresholds have left only {} that are "
        "not 0; the others are kept at 0, those with the lowest indices; lower masks.str_init, so "
        "that the thresholds stay lower",
        rule, kept, left);
  if (left > 2 * kept)
    return fmt::format(
        "{} keeps {} weights to reach its density, and prunes {} at once, because its thresholds "
        "have left {} that are not 0; raise masks.str_init, so that the thresholds become higher",
        rule, kept, left - kept, left);
  return "";
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
  if (!rule->trains_thresholds) return change.apply();
  const int64_t left = nonzero_weights(run_.parameters());
  change.apply();
  run_.optimizer->soft_thresholds()->end();
  const std::string warning = threshold_warning(rule->name, left, run_.parameters().kept_count());
  if (!warning.empty()) run_.parts.observer.on_warning(warning);
}

}  // namespace sculpt
