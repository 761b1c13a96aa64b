#include "engine/train/training_run.h"

#include <utility>

#include "engine/nn/cost.h"
#include "engine/optim/lr_schedule.h"
#include "engine/train/agreement.h"

namespace sculpt {

TrainingRun::TrainingRun(RunParts run_parts, RunSettings run_settings)
    : parts(std::move(run_parts)),
      settings(std::move(run_settings)),
      optimizer(parts.make_optimizer(parts.network.parameters(), settings.train.optim)) {}

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

void TrainingRun::count_masks() {
  kept = parameters().kept_count();
  flops_per_image = training_flops_per_image(parts.network);
  full_gradient_flops_per_image = sculpt::full_gradient_flops_per_image(parts.network);
}

}  // namespace sculpt
