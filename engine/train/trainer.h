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
#include "engine/nn/network.h"
#include "engine/optim/sgd.h"
#include "engine/train/after_prune.h"
#include "engine/train/batch_feed.h"
#include "engine/train/dense_timing.h"
#include "engine/train/evaluate.h"
#include "engine/train/observer.h"
#include "engine/train/options.h"
#include "engine/train/plan.h"
#include "engine/train/run_folder.h"

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

  /// Initialises the network and starts at the first step of the plan.
  void start();
  /// Goes on where the newest good checkpoint was written; starts if there is none. Messages about
  /// damaged ones go to `warnings`.
  void resume(std::vector<std::string>& warnings);

  /// Runs to the end of the plan, or until stop() says so; then a resumable checkpoint is on disk.
  /// Throws Error, the last good checkpoint being intact, if the loss is no number or a file cannot
  /// be written.
  RunOutcome run();

  const RunState& state() const { return state_; }
  /// Steps of this process that a device executed as one CUDA graph.
  int64_t replayed_steps() const { return recorder_.replayed(); }

 private:
  using Clock = std::chrono::steady_clock;

  RunOutcome perform(const PruneStep& step);
  void prune_now(const PruneStep& step);
  RunOutcome perform(const RewindStep& step);
  RunOutcome perform(const TrainStep& cycle);
  RunOutcome train_epoch(const TrainStep& cycle);
  RunOutcome run_steps(const TrainStep& cycle);
  void step(int64_t images, double lr);
  bool profiled(int64_t step) const;
  /// After a step: what would it have taken on dense kernels?
  void compare_with_dense(int64_t images, double seconds);
  void start_dense_timing();
  void end_dense_timing();
  int64_t steps_with_this_mask() const;
  bool on_device() const { return parts_.backend.memory != nullptr; }
  /// Of the epoch so far; waits for a device.
  void check_loss();
  /// Of some steps ago.
  void look_at_loss();
  void require_finite(double loss, int64_t step) const;
  void record_for_profiler(bool before_step);
  bool evaluate_now(const TrainStep& cycle);
  void record_evaluation(const Evaluation& evaluation);
  EpochMetrics metrics(const TrainStep& cycle, bool evaluated) const;
  void finish_epoch(const TrainStep& cycle);
  void finish_plan_step();
  void save_rewind_if_needed();
  RunOutcome save_interrupted();
  void save();
  void save_kernel_choices();
  void update_cost();
  double lr_at(const TrainStep& cycle, int64_t epoch_step) const;
  RunCost cost() const;

  RunParts parts_;
  RunSettings settings_;
  Sgd sgd_;
  BatchFeed train_feed_, test_feed_;
  StepRecorder recorder_;
  /// The loss after some step of the epoch, on its way.
  struct Look {
    int64_t step;
    int64_t images;  ///< up to then
    Readback<kernels::LossSums> sums;
  };
  std::optional<Look> look_;
  double lr_ = 0;                    // of the last step
  double seen_loss_ = NAN;           // mean over the images of the epoch that a look has seen
  std::set<int64_t> rewind_epochs_;  // epochs that the plan rewinds to
  RunState state_;
  std::optional<Evaluation> after_prune_;  // if a prune was the last step performed
  double flops_per_image_ = 0;             // of a training step, at the present masks
  double dense_flops_per_image_ = 0;
  std::optional<DenseTiming> dense_timing_;  // while it measures
  bool dense_timing_settled_ = false;        // has a step been run since the network was copied?
  bool dense_timing_refused_ = false;        // there was no memory, with these masks
  int64_t peak_memory_before_ = 0;           // at the last start of dense_timing_
  double seconds_before_ = 0;                // wall time of earlier sessions
  Clock::time_point session_start_;
};

}  // namespace sculpt
