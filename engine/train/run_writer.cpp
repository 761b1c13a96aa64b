#include "engine/train/run_writer.h"

#include <algorithm>
#include <cmath>

#include "engine/core/buffer.h"
#include "engine/core/error.h"
#include "engine/core/memory_use.h"
#include "engine/nn/cost.h"

namespace sculpt {
namespace {

double ratio_or_zero(double a, double b) {
  return b > 0 ? a / b : 0;
}

}  // namespace

RunWriter::RunWriter(TrainingRun& run, HookList& hooks)
    : run_(run),
      hooks_(hooks),
      dense_flops_per_image_(dense_training_flops_per_image(run.parts.network)),
      session_start_(std::chrono::steady_clock::now()) {
  const std::vector<int64_t> epochs = rewind_epochs(run.settings.plan);
  rewind_epochs_.insert(epochs.begin(), epochs.end());
}

void RunWriter::save() {
  run_.agree_on_statistics();
  require_finite(run_.parameters());
  note_time();
  save_kernel_choices();
  save_states();
  run_.parts.store.save(run_.parameters(), run_.state);
}

void RunWriter::save_states() {
  hooks_.save_states();
  run_.state.optimizer = run_.optimizer->save();
}

void RunWriter::save_kernel_choices() {
  const kernels::Chooser* chooser = run_.parts.chooser;
  if (chooser != nullptr) run_.parts.store.save_kernel_choices(chooser->to_record());
}

void RunWriter::save_rewind_if_needed() {
  const RunState& state = run_.state;
  if (state.cycle > 0) return;  // all epochs to rewind to lie in the first cycle
  const int64_t epoch = rewind_epoch_after(run_.settings.plan, state.epochs);
  if (rewind_epochs_.count(epoch)) run_.parts.store.save_rewind(run_.parameters(), epoch);
}

void RunWriter::keep_cycle_if_wanted() {
  const int64_t kept = run_.settings.train.kept_cycles();
  if (kept == 0) return;
  run_.agree_on_statistics();
  require_finite(run_.parameters());
  run_.parts.store.save_cycle(run_.parameters(), run_.state, kept);
}

PruneMetrics RunWriter::add_prune(const PruneStep& step, const AfterPrune& measured) {
  const ParameterArena& parameters = run_.parameters();
  const RunState& state = run_.state;
  PruneMetrics line{
      step,    state.plan_step, state.epochs, parameters.prunable_count(), parameters.kept_count(),
      measured};
  run_.parts.store.add_prune(line, run_.state);
  return line;
}

EpochMetrics RunWriter::metrics(bool evaluated) const {
  const RunState& state = run_.state;
  const auto images = static_cast<double>(state.sums.images);
  const ParameterArena& parameters = run_.parameters();
  EpochMetrics line;
  line.cycle = state.cycle + 1;
  line.cycle_epoch = state.cycle_epoch + 1;
  line.epoch = state.epochs + 1;
  line.lr = run_.lr_at(run_.parts.train.steps_per_epoch() - 1);
  line.train_loss = state.sums.loss / images;
  line.train_accuracy =
      std::isfinite(line.train_loss) ? static_cast<double>(state.sums.correct) / images : NAN;
  if (evaluated) {
    line.test_loss = state.test_loss;
    line.test_accuracy = state.test_accuracy;
  }
  line.density = ratio_or_zero(static_cast<double>(parameters.kept_count()),
                               static_cast<double>(parameters.prunable_count()));
  line.images_per_second = ratio_or_zero(images, state.sums.seconds);
  return line;
}

EpochMetrics RunWriter::add_epoch(bool evaluated, double evaluation_seconds) {
  EpochMetrics line = metrics(evaluated);
  line.seconds = run_.state.sums.seconds + evaluation_seconds;
  run_.parts.store.add_metrics(line, run_.state);
  return line;
}

void RunWriter::add_diverged_epoch() {
  EpochMetrics line = metrics(false);
  line.diverged = true;
  line.lr = run_.step.lr;
  line.seconds = run_.state.sums.seconds;
  run_.parts.store.add_metrics(line, run_.state);
}

void RunWriter::end_diverged(const Divergence& divergence) {
  const RunState& state = run_.state;
  DivergencePlace place{state.epochs, 0, run_.step.lr, run_.settings.train.optim.lr};
  // If steps of the present epoch are done, training diverged inside that epoch. Otherwise the
  // evaluation after the last prune or rewind has failed.
  if (state.epoch_step > 0) {
    place.epoch = state.epochs + 1;
    place.step = divergence.step().value_or(state.epoch_step);
    add_diverged_epoch();
  }
  throw Error(divergence_message(divergence, place, run_.parts.store));
}

RunState RunWriter::end_state() {
  note_time();
  save_kernel_choices();
  save_states();
  return run_.state;
}

void RunWriter::finish(const RunState& end) {
  note_time();
  run_.parts.store.finish(run_.parameters(), end, run_.state, run_.settings.identity, cost());
}

RunCost RunWriter::cost() const {
  RunCost cost;
  cost.prunable = run_.parameters().prunable_count();
  cost.kept = run_.parameters().kept_count();
  cost.dense_cycle_flops = dense_flops_per_image_ *
                           static_cast<double>(run_.parts.train.images_per_epoch()) *
                           static_cast<double>(run_.settings.train.epochs);
  cost.peak_memory_bytes = std::max(run_.peak_memory_before, peak_memory_bytes());
  cost.peak_device_memory_bytes = static_cast<int64_t>(peak_device_bytes());
  return cost;
}

}  // namespace sculpt
