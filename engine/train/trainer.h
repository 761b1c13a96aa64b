#pragma once
// Executes a plan. Everything a run does is here in order: prune, rewind, train, evaluate, record,
// save; each of these is a piece of its own.

#include <chrono>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "engine/core/readback.h"
#include "engine/core/step_recorder.h"
#include "engine/nn/batch_feed.h"
#include "engine/nn/evaluate.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "engine/plan/plan.h"
#include "engine/run/run_store.h"
#include "engine/sparse/after_prune.h"
#include "engine/train/dense_timing.h"
#include "engine/train/divergence.h"
#include "engine/train/observer.h"
#include "engine/train/train_options.h"

namespace sculpt {

/// What a run works with; all of it outlives the Trainer.
struct RunParts {
  Network& network;
  const kernels::Backend& backend;
  BatchSource& train;
  BatchSource& test;
  /// Class-balanced batch for criteria that need data; see ScoreContext.
  std::function<Batch(int64_t index)> score_batch;
  RunStore& store;
  RunObserver& observer;
  /// Asked between steps: save and end?
  std::function<bool()> stop;
  /// Of the kernels of network and backend; may be null.
  kernels::Chooser* chooser = nullptr;
  /// For prune.reestimate_batch_norm.
  StatisticsImages statistics_images = {};
  /// Puts other weights and masks over the initialisation of a run that starts; may be empty.
  std::function<void(ParameterArena&)> load_initial = {};
  /// Makes the optimizer, also for the copy of the network that dense steps are timed on.
  OptimizerMaker make_optimizer = sculpt::make_optimizer;
};

struct RunSettings {
  Plan plan;
  TrainOptions train;
  PruneOptions prune;
  RunIdentity identity;
  /// Steps of the run, first to last, that a profiler records.
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
};

enum class RunOutcome { finished, interrupted };

class Trainer {
 public:
  Trainer(RunParts parts, RunSettings settings);

  /// Initialises the network, starts at the first step of the plan, and saves a first state, so
  /// that no record is ever there without one. The folder holds no run yet.
  void start();
  /// Goes on where the newest good checkpoint was written; starts if there is none. Messages about
  /// damaged ones go to `warnings`.
  void resume(std::vector<std::string>& warnings);

  /// Runs to the end of the plan, or until stop() says so or a phase (core/phase.h) is interrupted;
  /// then a resumable checkpoint is on disk, unless state().saves is 0: then nothing was computed.
  /// Throws Error, the last good checkpoint being intact, if training diverges (a loss, a weight or
  /// a statistic is not finite; the epoch then has its line in the records) or a file cannot be
  /// written.
  RunOutcome run();

  const RunState& state() const { return state_; }
  /// Steps of this process that a device executed as one CUDA graph.
  int64_t replayed_steps() const { return recorder_.replayed(); }

 private:
  using Clock = std::chrono::steady_clock;

  RunOutcome perform(const PruneStep& step);
  /// False if its scoring was interrupted.
  bool prune_now(const PruneStep& step);
  RunOutcome perform(const RewindStep& step);
  RunOutcome perform(const Cycle& cycle);
  RunOutcome train_epoch(const Cycle& cycle);
  RunOutcome run_steps(const Cycle& cycle);
  void step(int64_t images, double lr);
  bool profiled(int64_t step) const;
  /// Counts a step's time among those on sparse or on dense kernels. Returns whether it is still to
  /// be measured what such a step takes on dense kernels.
  bool count_step(double seconds);
  /// After a step: what would it have taken on dense kernels? False if that was interrupted.
  bool compare_with_dense(int64_t images, double seconds);
  void start_dense_timing();
  void end_dense_timing();
  /// Steps that are left with the present masks, and those with each of the later masks.
  std::vector<int64_t> steps_with_masks() const;
  /// Can the time on dense kernels become known? Not if there were steps that were not compared, or
  /// if there are masks with too few steps for a comparison.
  bool dense_time_can_be_known() const;
  bool on_device() const { return parts_.backend.memory != nullptr; }
  /// Of the epoch so far; waits for a device.
  void check_loss();
  /// Of some steps ago.
  void read_pending_loss();
  /// Records the epoch and throws the whole message.
  [[noreturn]] void end_diverged(const Divergence& divergence);
  void record_for_profiler(bool before_step);
  bool evaluate_now(const Cycle& cycle);
  void record_evaluation(const Evaluation& evaluation);
  EpochMetrics metrics(const Cycle& cycle, bool evaluated) const;
  void finish_epoch(const Cycle& cycle);
  void finish_plan_step();
  void save_rewind_if_needed();
  /// The last evaluation, after `epoch`, may be the best one since the density last changed.
  void note_best(int64_t epoch);
  RunOutcome save_interrupted();
  void note_time();
  void save();
  void save_kernel_choices();
  void update_cost();
  double lr_at(const Cycle& cycle, int64_t epoch_step) const;
  RunCost cost() const;

  RunParts parts_;
  RunSettings settings_;
  std::unique_ptr<Optimizer> optimizer_;
  BatchFeed train_feed_, test_feed_;
  StepRecorder recorder_;
  /// The loss after some step of the epoch, on its way.
  struct PendingLoss {
    int64_t step;    ///< of the epoch
    int64_t images;  ///< up to then
    Readback<kernels::LossSums> sums;
  };
  std::optional<PendingLoss> pending_loss_;
  double lr_ = 0;                    // of the last step
  double last_known_loss_ = NAN;     // mean over the images of the epoch that a look has seen
  std::set<int64_t> rewind_epochs_;  // see rewind_epochs()
  RunState state_;
  std::optional<Evaluation> after_prune_;  // if a prune was the last step performed
  double flops_per_image_ = 0;             // of a training step, at the present masks
  double dense_flops_per_image_ = 0;
  std::optional<DenseTiming> dense_timing_;  // while it measures
  bool dense_timing_settled_ = false;        // has a step been run since the network was copied?
  bool dense_timing_refused_ = false;        // with these masks: no memory, or too few steps
  int64_t peak_memory_before_ = 0;           // at the last start of dense_timing_
  double seconds_before_ = 0;                // wall time of earlier sessions
  Clock::time_point session_start_;
};

}  // namespace sculpt
