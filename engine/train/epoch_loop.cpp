#include "engine/train/epoch_loop.h"

#include "engine/core/error.h"
#include "engine/dist/gpu_ranks.h"

namespace sculpt {

EpochLoop::EpochLoop(TrainingRun& run, HookList& hooks, RunWriter& writer)
    : run_(run),
      hooks_(hooks),
      writer_(writer),
      feed_(run.parts.network, run.parts.train),
      recorder_(run.parts.network.execution().step_graph ? run.parts.backend.recording
                                                         : kernels::RecordingHooks{}) {}

RunOutcome EpochLoop::run_steps() {
  const RunState& state = run_.state;
  if (state.epoch_step == 0) hooks_.before_epoch();
  feed_.start_epoch(state.epochs, state.epoch_step);
  hooks_.loss_watch().enter_epoch();
  while (state.epoch_step < run_.parts.train.steps_per_epoch()) {
    run_step();
    run_.parts.observer.on_step(state, run_.mean_loss);
    if (run_.step.stopping) return RunOutcome::interrupted;
    if (run_.step.saves) writer_.save();
  }
  return RunOutcome::finished;
}

void EpochLoop::run_step() {
  const int64_t position = run_.state.epoch_step, steps = run_.parts.train.steps_per_epoch();
  run_.step = {.lr = run_.lr_at(position), .last_of_epoch = position + 1 == steps};
  hooks_.before_step();
  run_.step.images = feed_.advance();
  SCULPT_CHECK(run_.step.images > 0, "the training set ended at step {} of {}", position, steps);
  launch(run_.step.images);
  count_step();
  hooks_.after_step();
  if (!run_.stop_requested || run_.step.stopping) return;
  run_.step.stopping = true;
  hooks_.loss_watch().complete_sums();  // the checkpoint that follows needs them
}

void EpochLoop::launch(int64_t images) {
  if (GpuRanks* const gpus = GpuRanks::of_process()) gpus->begin_step();
  run_.optimizer->begin_step(run_.step.lr);
  const int parts = run_.parts.network.parts_of(images);
  const bool several_ranks = run_.parts.ranks.size() > 1;
  // A step with full gradients launches other work than the recorded steps if ranks exchange
  // gradients, or if parts add them up.
  const bool full = run_.parameters().full_gradients().requested();
  run_.step.full_gradients = full;
  const bool recorded = !run_.step.kernel_by_kernel && !(full && (several_ranks || parts > 1));
  if (several_ranks) follow_mask();
  // The exchange of full gradients replaces memory that recordings hold.
  if (several_ranks && full) recorder_.forget();
  for (int index = 0; index < parts; ++index)
    launch_part({index, parts}, recorded);
  run_.parameters().full_gradients().end_request();
}

/// Forgets recorded steps that exchange the gradients of other weights than those that are kept.
void EpochLoop::follow_mask() {
  const SharedPattern& pattern = run_.parameters().pattern();
  if (recorded_pattern_ != pattern) recorder_.forget();
  recorded_pattern_ = pattern;
}

void EpochLoop::launch_part(const StepPart& part, bool recorded) {
  Network& network = run_.parts.network;
  feed_.prepare(part);
  network.begin_step(static_cast<uint64_t>(run_.state.steps));
  const auto launches = [&] {
    feed_.load();
    network.forward_adding(Mode::train);
    network.backward();
    if (part.is_last()) run_.optimizer->step();
  };
  if (recorded)
    recorder_.run({run_.step.images, part.index}, launches);
  else
    launches();
}

void EpochLoop::count_step() {
  RunState& state = run_.state;
  StepInfo& step = run_.step;
  state.sums.images += step.images;
  state.images += step.images;
  const double full = step.full_gradients ? run_.full_gradient_flops_per_image : 0;
  state.flops += (run_.flops_per_image + full) * static_cast<double>(step.images);
  state.density_sum += run_.density();
  ++state.epoch_step;
  ++state.steps;
  const bool asked = run_.parts.stop();
  step.stopping = asked || run_.stop_requested;
  const int64_t every = run_.settings.train.checkpoint_steps;
  step.saves = every > 0 && state.epoch_step % every == 0 && !step.last_of_epoch;
}

}  // namespace sculpt
