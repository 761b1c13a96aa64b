#pragma once
// Writes the files of a run during training: checkpoints and the lines of the records.

#include <chrono>
#include <set>

#include "engine/train/divergence.h"
#include "engine/train/hooks/hook_list.h"
#include "engine/train/training_run.h"

namespace sculpt {

class RunWriter {
 public:
  RunWriter(TrainingRun& run, HookList& hooks);

  /// Adds the wall time of the checkpoint that the run goes on from.
  void resume() { seconds_before_ = run_.state.seconds; }

  /// Writes a resumable checkpoint. Throws Divergence if a weight, an element of the optimizer's
  /// arrays or a running statistic is not finite: the checkpoint would not be a good one.
  void save();
  void save_kernel_choices();
  /// Writes the file that later steps rewind to, if a later step rewinds to the present epoch.
  void save_rewind_if_needed();
  /// Writes the checkpoint of the cycle that has just ended, if train.keep asks for it. The file is
  /// complete before the state after the cycle is. Throws Divergence as save() does.
  void keep_cycle_if_wanted();

  PruneMetrics add_prune(const PruneStep& step, const AfterPrune& measured);
  /// Writes the line of the epoch whose steps are done. `evaluation_seconds` is added to the time
  /// of the steps.
  EpochMetrics add_epoch(bool evaluated, double evaluation_seconds);
  /// Writes the line of the epoch in which training diverged, and throws Error with the whole
  /// message.
  [[noreturn]] void end_diverged(const Divergence& divergence);

  /// Returns the state after the last step of the plan; end.safetensors will hold it.
  RunState end_state();
  /// Writes the final checkpoint and the summary.
  void finish(const RunState& end);

 private:
  void note_time() { run_.state.seconds = seconds_before_ + elapsed_seconds(session_start_); }
  /// Writes what hooks and optimizer remember into the state.
  void save_states();
  EpochMetrics metrics(bool evaluated) const;
  void add_diverged_epoch();
  RunCost cost() const;

  TrainingRun& run_;
  HookList& hooks_;
  std::set<int64_t> rewind_epochs_;  // see rewind_epochs()
  double dense_flops_per_image_;
  double seconds_before_ = 0;  // wall time of earlier sessions
  std::chrono::steady_clock::time_point session_start_;
};

}  // namespace sculpt
