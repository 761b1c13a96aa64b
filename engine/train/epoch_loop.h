#pragma once
// Runs the training steps of an epoch, with the hooks around them.

#include "engine/core/step_recorder.h"
#include "engine/nn/batch_feed.h"
#include "engine/train/hooks/hook_list.h"
#include "engine/train/run_writer.h"
#include "engine/train/training_run.h"

namespace sculpt {

class EpochLoop {
 public:
  EpochLoop(TrainingRun& run, HookList& hooks, RunWriter& writer);

  /// Runs the remaining steps of the present epoch, until the epoch ends or until stop() or a hook
  /// ends the run after a step. The run's state then says how far the epoch came, and can be saved.
  /// Also writes the checkpoints that are due inside the epoch.
  RunOutcome run_steps();

  /// Returns the number of steps of this process that a device executed as one recording.
  int64_t replayed_steps() const { return recorder_.replayed(); }

 private:
  void run_step();
  void launch(int64_t images);
  void follow_mask();
  void follow_thresholds();
  void launch_part(const StepPart& part, bool recorded);
  /// Counts the step that has been launched, and asks whether the run ends after it.
  void count_step();

  TrainingRun& run_;
  HookList& hooks_;
  RunWriter& writer_;
  BatchFeed feed_;
  StepRecorder recorder_;
  SharedPattern recorded_pattern_;    // the mask of the recorded steps
  bool recorded_thresholds_ = false;  // true if the recorded steps train soft thresholds
};

}  // namespace sculpt
