#include "engine/run/prune_effects.h"

namespace sculpt {
namespace {

/// Returns the line of the last evaluated epoch of the first cycle that trains after `epoch`
/// epochs; null if there is none.
const EpochMetrics* end_of_next_cycle(const RunRecords& run, int64_t epoch) {
  const EpochMetrics *first = nullptr, *end = nullptr;
  for (const EpochMetrics& line : run.epochs) {
    if (line.epoch <= epoch) continue;
    if (first == nullptr) first = &line;
    if (line.cycle != first->cycle) break;
    if (std::isfinite(line.test_accuracy)) end = &line;
  }
  return end;
}

const EpochMetrics* line_of_epoch(const RunRecords& run, int64_t epoch) {
  for (const EpochMetrics& line : run.epochs)
    if (line.epoch == epoch) return &line;
  return nullptr;
}

}  // namespace

std::vector<PruneEffect> prune_effects(const RunRecords& run) {
  std::vector<PruneEffect> effects;
  for (const PruneRecord& prune : run.prunes) {
    PruneEffect effect;
    effect.plan_step = prune.plan_step;
    effect.epoch = prune.epoch;
    effect.criterion = prune.criterion;
    effect.allocation = prune.allocation;
    effect.prunable = prune.prunable;
    effect.kept_after = prune.kept;
    effect.loss_after = prune.test_loss;
    effect.accuracy_after = prune.test_accuracy;
    const bool follows = !effects.empty() && effects.back().epoch == prune.epoch;
    effect.kept_before = effects.empty() ? prune.prunable : effects.back().kept_after;
    if (follows) {
      effect.loss_before = effects.back().loss_after;
      effect.accuracy_before = effects.back().accuracy_after;
    } else if (const EpochMetrics* const before = line_of_epoch(run, prune.epoch)) {
      effect.loss_before = before->test_loss;
      effect.accuracy_before = before->test_accuracy;
    }
    if (const EpochMetrics* const later = end_of_next_cycle(run, prune.epoch)) {
      effect.loss_later = later->test_loss;
      effect.accuracy_later = later->test_accuracy;
    }
    effects.push_back(effect);
  }
  return effects;
}

}  // namespace sculpt
