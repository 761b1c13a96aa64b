#include "engine/train/training_run.h"

#include <utility>

#include "engine/nn/cost.h"
#include "engine/optim/lr_schedule.h"
#include "engine/sparse/allocation.h"
#include "engine/train/agreement.h"
#include "engine/train/run_optimizer.h"

namespace sculpt {

TrainingRun::TrainingRun(RunParts run_parts, RunSettings run_settings)
    : parts(std::move(run_parts)),
      settings(std::move(run_settings)),
      optimizer(make_run_optimizer(parts.make_optimizer, parts.network.parameters(),
                                   settings.train.optim, settings.plan)) {}

const MaskRule* TrainingRun::mask_rule() const {
  const auto* const present = std::get_if<Cycle>(&plan_step());
  return present == nullptr || present->rule.empty() ? nullptr : &find_mask_rule(present->rule);
}

double TrainingRun::lr_at(int64_t epoch_step) const {
  const Cycle& now = cycle();
  const int64_t steps = parts.train.steps_per_epoch();
  const int64_t epoch = now.first_epoch + state.cycle_epoch;
  return learning_rate(epoch * steps + epoch_step, now.epochs * steps, settings.train.optim);
}

ScoreContext TrainingRun::score_context() const {
  return {parts.network, settings.identity.seed, settings.prune, parts.score_batch,
          parts.train.normalization()};
}

void TrainingRun::agree_on_statistics() {
  if (!parts.network.graph().settings().sync_batch_norm) parts.network.average_statistics();
}

void TrainingRun::require_same_on_all_ranks(const std::string& when) {
  require_same_parameters(parts.ranks, parameters(), when);
}

MaskReport TrainingRun::mask_report(const std::string& changed_by) const {
  MaskReport report{.changed_by = changed_by,
                    .prunable = parameters().prunable_count(),
                    .kept = kept,
                    .layers = {},
                    .warnings = {}};
  for (const PrunableLayer& layer : prunable_layers(parameters())) {
    report.layers.push_back({layer.name, layer.shape, layer.count, layer.present});
    if (layer.present == 0)
      report.warnings.push_back(fmt::format(
          "layer '{}' has no weight left after {}, and nothing flows through it; a higher density "
          "keeps some",
          layer.name, report.changed_by));
  }
  return report;
}

void TrainingRun::count_masks() {
  kept = parameters().kept_count();
  flops_per_image = training_flops_per_image(parts.network);
  full_gradient_flops_per_image = sculpt::full_gradient_flops_per_image(parts.network);
}

}  // namespace sculpt
