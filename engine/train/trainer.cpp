#include "engine/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/buffer.h"
#include "engine/core/error.h"
#include "engine/core/memory_use.h"
#include "engine/core/phase.h"
#include "engine/nn/cost.h"
#include "engine/nn/evaluate.h"
#include "engine/optim/lr_schedule.h"
#include "engine/train/divergence.h"

namespace sculpt {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double ratio_or_zero(double a, double b) {
  return b > 0 ? a / b : 0;
}

void require_finite(const char* what, double loss, std::optional<int64_t> step = std::nullopt) {
  if (!std::isfinite(loss))
    throw Divergence(fmt::format("{} is {}", what, std::isnan(loss) ? "not a number" : "infinite"),
                     step);
}

}  // namespace

Trainer::Trainer(RunParts parts, RunSettings settings)
    : parts_(std::move(parts)),
      settings_(std::move(settings)),
      optimizer_(parts_.make_optimizer(parts_.network.parameters(), settings_.train.optim)),
      train_feed_(parts_.network, parts_.train),
      test_feed_(parts_.network, parts_.test),
      recorder_(settings_.train.step_graph ? parts_.backend.recording : kernels::RecordingHooks{}),
      session_start_(Clock::now()) {
  const std::vector<int64_t> epochs = rewind_epochs(settings_.plan);
  rewind_epochs_.insert(epochs.begin(), epochs.end());
  dense_flops_per_image_ = dense_training_flops_per_image(parts_.network);
}

void Trainer::start() {
  parts_.network.initialise(settings_.identity.seed);
  if (parts_.load_initial) parts_.load_initial(parts_.network.parameters());
  state_ = {};
  save_kernel_choices();
  save_rewind_if_needed();
  update_cost();
  try {
    save();
  } catch (const Divergence&) {
    // A network that starts with a value that is not finite leaves no state that counts as good;
    // its first steps report the value.
  }
}

void Trainer::resume(std::vector<std::string>& warnings) {
  // Also seeds dropout; the checkpoint then replaces all tensors.
  parts_.network.initialise(settings_.identity.seed);
  const auto restored = parts_.store.restore(parts_.network.parameters(), warnings);
  if (!restored) return start();
  state_ = *restored;
  save_kernel_choices();
  seconds_before_ = state_.seconds;
  update_cost();
}

RunOutcome Trainer::run() try {
  while (state_.plan_step < static_cast<int64_t>(settings_.plan.size())) {
    if (parts_.stop()) return save_interrupted();
    const PlanStep& step = settings_.plan[static_cast<size_t>(state_.plan_step)];
    parts_.observer.on_plan_step(step, state_);
    const RunOutcome outcome = std::visit([&](const auto& s) { return perform(s); }, step);
    if (outcome == RunOutcome::interrupted) return outcome;
  }
  end_dense_timing();
  note_time();
  save_kernel_choices();
  const RunState end = state_;
  const bool trained_last =
      !settings_.plan.empty() && std::holds_alternative<Cycle>(settings_.plan.back());
  if (!trained_last) {
    parts_.observer.on_evaluate();
    const auto evaluation =
        after_prune_ ? after_prune_ : evaluate(parts_.network, test_feed_, parts_.stop);
    if (!evaluation) return save_interrupted();
    record_evaluation(*evaluation);
    note_best(state_.epochs);
  }
  state_.seconds = seconds_before_ + seconds_since(session_start_);
  parts_.store.finish(parts_.network.parameters(), end, state_, settings_.identity, cost());
  return RunOutcome::finished;
} catch (const Interrupted&) {
  // Kernels were being chosen for new masks, or for those of a checkpoint that was just read. The
  // newest checkpoint, if there is one, is from before that, and a resume does it again.
  return RunOutcome::interrupted;
} catch (const Divergence& divergence) {
  end_diverged(divergence);
}

RunOutcome Trainer::perform(const PruneStep& step) {
  if (state_.pruned == 0 && !prune_now(step)) return save_interrupted();
  parts_.observer.on_evaluate();
  const auto measured = measure_after_prune(parts_.network, test_feed_, parts_.statistics_images,
                                            settings_.prune.reestimate_batch_norm,
                                            parts_.train.normalization(), parts_.stop);
  if (!measured) return save_interrupted();  // pruned; a resume measures
  const ParameterArena& parameters = parts_.network.parameters();
  const PruneMetrics line{step,
                          state_.plan_step,
                          state_.epochs,
                          parameters.prunable_count(),
                          parameters.kept_count(),
                          *measured};
  parts_.store.add_prune(line, state_);
  parts_.observer.on_prune_measured(line);
  after_prune_ = measured->now;
  state_.pruned = 0;
  finish_plan_step();
  save();
  return RunOutcome::finished;
}

bool Trainer::prune_now(const PruneStep& step) {
  const ScoreContext context{parts_.network, settings_.identity.seed, settings_.prune,
                             parts_.score_batch, parts_.train.normalization()};
  end_dense_timing();
  const int64_t kept_before = parts_.network.parameters().kept_count();
  PruneReport report;
  try {
    report = prune(context, step);
  } catch (const Interrupted&) {
    return false;  // prune() left everything as it was
  }
  if (report.kept != kept_before) state_.density_changes();
  state_.dense.masks_change();
  dense_timing_refused_ = false;
  update_cost();
  parts_.network.graph().follow_masks();
  parts_.store.add_layers(report, parts_.network.pass_kernels(), state_);
  parts_.observer.on_prune(report);
  state_.pruned = 1;
  return true;
}

RunOutcome Trainer::perform(const RewindStep& step) {
  after_prune_.reset();
  parts_.store.load_rewind(parts_.network.parameters(), step.epoch);
  optimizer_->reset();
  finish_plan_step();
  save();
  return RunOutcome::finished;
}

RunOutcome Trainer::perform(const Cycle& cycle) {
  after_prune_.reset();
  if (state_.cycle_epoch == 0 && state_.epoch_step == 0) optimizer_->reset();
  const int64_t plan_step = state_.plan_step;
  while (state_.plan_step == plan_step) {
    if (train_epoch(cycle) == RunOutcome::interrupted) return RunOutcome::interrupted;
  }
  return RunOutcome::finished;
}

RunOutcome Trainer::train_epoch(const Cycle& cycle) {
  if (run_steps(cycle) == RunOutcome::interrupted) return save_interrupted();
  const auto evaluation_start = Clock::now();
  require_finite(parts_.network.parameters());
  const bool evaluated = evaluate_now(cycle);
  if (evaluated) {
    parts_.observer.on_evaluate();
    const auto evaluation = evaluate(parts_.network, test_feed_, parts_.stop);
    if (!evaluation) return save_interrupted();  // all steps done; a resume evaluates again
    record_evaluation(*evaluation);
    note_best(state_.epochs + 1);
  }
  EpochMetrics line = metrics(cycle, evaluated);
  line.seconds = state_.sums.seconds + seconds_since(evaluation_start);
  parts_.store.add_metrics(line, state_);
  parts_.observer.on_epoch(line);
  finish_epoch(cycle);
  return RunOutcome::finished;
}

RunOutcome Trainer::run_steps(const Cycle& cycle) {
  const int64_t steps = parts_.train.steps_per_epoch();
  train_feed_.start_epoch(state_.epochs, state_.epoch_step);
  parts_.network.set_loss_sums({state_.sums.loss, state_.sums.correct});
  pending_loss_.reset();
  last_known_loss_ =
      state_.sums.loss / static_cast<double>(state_.sums.images);  // NaN at the start
  while (state_.epoch_step < steps) {
    const auto start = Clock::now();
    const double lr = lr_at(cycle, state_.epoch_step);
    const int64_t images = train_feed_.next();
    SCULPT_CHECK(images > 0, "the training set ended at step {} of {}", state_.epoch_step, steps);
    record_for_profiler(true);
    step(images, lr);
    record_for_profiler(false);
    const bool stop = parts_.stop();
    const int64_t every = settings_.train.checkpoint_steps;
    const bool last = state_.epoch_step == steps;
    const bool save_now = every > 0 && state_.epoch_step % every == 0 && !last;
    if (!on_device() || last || stop || save_now)
      check_loss();
    else
      read_pending_loss();
    const double seconds = seconds_since(start);
    state_.sums.seconds += seconds;
    state_.train_seconds += seconds;
    const bool dense_step = count_step(seconds) && !stop;
    if (dense_step && !compare_with_dense(images, seconds)) {
      if (on_device()) check_loss();
      return RunOutcome::interrupted;
    }
    parts_.observer.on_step(state_, last_known_loss_);
    if (stop) return RunOutcome::interrupted;
    if (save_now) save();
  }
  return RunOutcome::finished;
}

void Trainer::step(int64_t images, double lr) {
  Network& network = parts_.network;
  network.begin_step(static_cast<uint64_t>(state_.steps));
  optimizer_->set_lr(lr);
  lr_ = lr;
  const auto launches = [&] {
    train_feed_.load();
    network.forward_adding(Mode::train);
    network.backward();
    optimizer_->step();
  };
  if (profiled(state_.steps))
    launches();  // so that the profiler sees the ranges of the ops
  else
    recorder_.run(images, launches);

  state_.sums.images += images;
  state_.images += images;
  state_.flops += flops_per_image_ * static_cast<double>(images);
  ++state_.epoch_step;
  ++state_.steps;
}

bool Trainer::count_step(double seconds) {
  DenseSeconds& dense = state_.dense;
  dense.seconds_current_mask += seconds;
  if (!parts_.network.graph().skips_masked()) {
    dense.ratio = 1;
    return false;
  }
  ++dense.sparse_steps;
  return std::isnan(dense.ratio) && settings_.train.dense_timing && !dense_timing_refused_;
}

bool Trainer::compare_with_dense(int64_t images, double seconds) try {
  const auto start = Clock::now();
  // Neither the first step, which found the kept weights, nor the first one after the network was
  // copied, which stored them anew, is a measure of the others.
  if (!dense_timing_)
    start_dense_timing();
  else if (std::exchange(dense_timing_settled_, true))
    dense_timing_->compare(images, seconds);
  if (dense_timing_refused_) return true;
  if (dense_timing_ && dense_timing_->done()) end_dense_timing();
  state_.dense.measuring += seconds_since(start);
  return true;
} catch (const Interrupted&) {
  return false;  // comparing touches nothing of the run
}

void Trainer::start_dense_timing() {
  if (!dense_time_can_be_known() || !can_copy(parts_.network)) {
    dense_timing_refused_ = true;
    return;
  }
  dense_timing_settled_ = false;
  peak_memory_before_ = std::max(peak_memory_before_, peak_memory_bytes());
  dense_timing_.emplace(parts_.network, parts_.make_optimizer, settings_.train.optim,
                        steps_with_masks().front());
}

void Trainer::end_dense_timing() {
  if (!dense_timing_) return;
  state_.dense.ratio = dense_timing_->ratio();
  dense_timing_.reset();
  restart_peak_memory();  // the copy's memory is not the run's
}

std::vector<int64_t> Trainer::steps_with_masks() const {
  const auto first = static_cast<size_t>(state_.plan_step);
  std::vector<int64_t> steps = epochs_between_prunes(settings_.plan, first);
  for (int64_t& count : steps)
    count *= parts_.train.steps_per_epoch();
  steps.front() -= state_.cycle_epoch * parts_.train.steps_per_epoch() + state_.epoch_step;
  return steps;
}

bool Trainer::dense_time_can_be_known() const {
  if (std::isnan(state_.dense.dense_seconds_before)) return false;
  const std::vector<int64_t> steps = steps_with_masks();
  if (steps.front() < DenseTiming::kStepsNeeded) return false;
  // Later masks keep fewer weights, so that their layers skip some, too. The first step with a mask
  // makes the object.
  return std::ranges::all_of(steps.begin() + 1, steps.end(), [](int64_t count) {
    return count == 0 || count > DenseTiming::kStepsNeeded;
  });
}

bool Trainer::profiled(int64_t step) const {
  const auto& steps = settings_.profiled_steps;
  return steps && steps->first <= step && step <= steps->second;
}

void Trainer::record_for_profiler(bool before_step) {
  if (!settings_.profiled_steps) return;
  const auto [first, last] = *settings_.profiled_steps;
  const kernels::TraceHooks& trace = parts_.backend.trace;
  if (before_step && state_.steps == first && trace.start_recording) trace.start_recording();
  // The counter has moved on.
  if (!before_step && state_.steps == last + 1 && trace.stop_recording) trace.stop_recording();
}

void Trainer::check_loss() {
  const kernels::LossSums sums = parts_.network.loss_sums();
  state_.sums.loss = sums.loss;
  state_.sums.correct = sums.correct;
  last_known_loss_ = sums.loss / static_cast<double>(state_.sums.images);
  require_finite("the training loss", sums.loss);
}

// The loss of so many steps ago has long arrived: the device is not waited for, and the host does
// not run further ahead of it than twice that.
constexpr int64_t kStepsBetweenLossReads = 32;

void Trainer::read_pending_loss() {
  if (state_.epoch_step % kStepsBetweenLossReads != 0) return;
  if (pending_loss_) {
    const kernels::LossSums sums = pending_loss_->sums.get();
    state_.sums.loss = sums.loss;  // check_loss() puts the present one there before it is used
    require_finite("the training loss", sums.loss, pending_loss_->step);
    last_known_loss_ = sums.loss / static_cast<double>(pending_loss_->images);
  }
  pending_loss_ =
      PendingLoss{state_.epoch_step, state_.sums.images, parts_.network.read_loss_sums()};
}

void Trainer::end_diverged(const Divergence& divergence) {
  DivergencePlace place{state_.epochs, 0, lr_, settings_.train.optim.lr};
  // In an epoch; else the evaluation after the last prune or rewind is what failed.
  if (state_.epoch_step > 0) {
    const auto& cycle = std::get<Cycle>(settings_.plan[static_cast<size_t>(state_.plan_step)]);
    place.epoch = state_.epochs + 1;
    place.step = divergence.step().value_or(state_.epoch_step);
    EpochMetrics line = metrics(cycle, false);
    line.diverged = true;
    line.lr = lr_;
    line.seconds = state_.sums.seconds;
    parts_.store.add_metrics(line, state_);
  }
  throw Error(divergence_message(divergence, place, parts_.store));
}

bool Trainer::evaluate_now(const Cycle& cycle) {
  const int64_t done = state_.cycle_epoch + 1;
  return done % settings_.train.eval_every == 0 || done == cycle.epochs - cycle.first_epoch;
}

void Trainer::record_evaluation(const Evaluation& evaluation) {
  require_finite("the test loss", evaluation.loss);
  state_.test_loss = evaluation.loss;
  state_.test_accuracy = evaluation.accuracy;
}

void Trainer::note_best(int64_t epoch) {
  // Only a better accuracy moves the best epoch; comparisons with NaN are false.
  if (state_.test_accuracy <= state_.best_test_accuracy_at_density) return;
  state_.best_test_accuracy_at_density = state_.test_accuracy;
  state_.best_epoch_at_density = epoch;
}

EpochMetrics Trainer::metrics(const Cycle& cycle, bool evaluated) const {
  const auto images = static_cast<double>(state_.sums.images);
  const ParameterArena& parameters = parts_.network.parameters();
  EpochMetrics line;
  line.cycle = state_.cycle + 1;
  line.cycle_epoch = state_.cycle_epoch + 1;
  line.epoch = state_.epochs + 1;
  line.lr = lr_at(cycle, parts_.train.steps_per_epoch() - 1);
  line.train_loss = state_.sums.loss / images;
  line.train_accuracy =
      std::isfinite(line.train_loss) ? static_cast<double>(state_.sums.correct) / images : NAN;
  if (evaluated) {
    line.test_loss = state_.test_loss;
    line.test_accuracy = state_.test_accuracy;
  }
  line.density = ratio_or_zero(static_cast<double>(parameters.kept_count()),
                               static_cast<double>(parameters.prunable_count()));
  line.images_per_second = ratio_or_zero(images, state_.sums.seconds);
  return line;
}

void Trainer::finish_epoch(const Cycle& cycle) {
  state_.train_loss = state_.sums.loss / static_cast<double>(state_.sums.images);
  state_.sums = {};
  state_.epoch_step = 0;
  ++state_.cycle_epoch;
  ++state_.epochs;
  save_rewind_if_needed();
  const int64_t every = settings_.train.checkpoint_every;
  const bool cycle_ends = state_.cycle_epoch == cycle.epochs - cycle.first_epoch;
  const bool save_now = cycle_ends || (every > 0 && state_.cycle_epoch % every == 0);
  if (cycle_ends) {
    ++state_.cycle;
    finish_plan_step();
  }
  if (save_now) save();
}

void Trainer::finish_plan_step() {
  state_.cycle_epoch = 0;
  ++state_.plan_step;
}

void Trainer::save_rewind_if_needed() {
  if (state_.cycle > 0) return;  // all of them lie in the first cycle
  const int64_t epoch = rewind_epoch_after(settings_.plan, state_.epochs);
  if (rewind_epochs_.count(epoch)) parts_.store.save_rewind(parts_.network.parameters(), epoch);
}

RunOutcome Trainer::save_interrupted() {
  save();
  return RunOutcome::interrupted;
}

void Trainer::note_time() {
  state_.seconds = seconds_before_ + seconds_since(session_start_);
}

void Trainer::save() {
  require_finite(parts_.network.parameters());  // else it would not be a good checkpoint
  note_time();
  save_kernel_choices();
  parts_.store.save(parts_.network.parameters(), state_);
}

void Trainer::save_kernel_choices() {
  if (parts_.chooser != nullptr) parts_.store.save_kernel_choices(parts_.chooser->to_record());
}

void Trainer::update_cost() {
  flops_per_image_ = training_flops_per_image(parts_.network);
}

double Trainer::lr_at(const Cycle& cycle, int64_t epoch_step) const {
  const int64_t steps = parts_.train.steps_per_epoch();
  const int64_t epoch = cycle.first_epoch + state_.cycle_epoch;
  return learning_rate(epoch * steps + epoch_step, cycle.epochs * steps, settings_.train.optim);
}

RunCost Trainer::cost() const {
  RunCost cost;
  cost.prunable = parts_.network.parameters().prunable_count();
  cost.kept = parts_.network.parameters().kept_count();
  cost.dense_cycle_flops = dense_flops_per_image_ *
                           static_cast<double>(parts_.train.images_per_epoch()) *
                           static_cast<double>(settings_.train.epochs);
  cost.peak_memory_bytes = std::max(peak_memory_before_, peak_memory_bytes());
  cost.peak_device_memory_bytes = static_cast<int64_t>(peak_device_bytes());
  return cost;
}

}  // namespace sculpt
