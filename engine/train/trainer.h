#pragma once
// The trainer executes the steps of a plan (prune, rewind, train, intervene) in their order.
// EpochLoop runs the training steps of an epoch, RunWriter writes records and checkpoints, and
// everything that looks at training steps or changes masks during training is a hook
// (hooks/hook.h).

#include <optional>
#include <string>
#include <vector>

#include "engine/nn/batch_feed.h"
#include "engine/nn/evaluate.h"
#include "engine/train/epoch_loop.h"
#include "engine/train/hooks/hook_list.h"
#include "engine/train/run_parts.h"
#include "engine/train/run_writer.h"
#include "engine/train/training_run.h"

namespace sculpt {

class Trainer {
 public:
  Trainer(RunParts parts, RunSettings settings);

  /// Initialises the network, starts at the first step of the plan, and saves a first state, so
  /// that records never exist without a state. The folder must not hold a run yet.
  void start();
  /// Goes on from the newest good checkpoint, or starts if there is none. Reports damaged
  /// checkpoints in `warnings`. Throws Error if the checkpoint belongs to a run with other hooks.
  void resume(std::vector<std::string>& warnings);

  /// Runs to the end of the plan, or until stop(), a hook or the interruption of a phase
  /// (core/phase.h) ends the run. After an early end, a resumable checkpoint is on disk, unless
  /// state().saves is 0, because nothing had been computed. Throws Error if training diverges (a
  /// loss, a weight or a statistic is not finite; the epoch is then recorded) or if a file cannot
  /// be written. The last good checkpoint stays intact.
  RunOutcome run();

  const RunState& state() const { return run_.state; }
  /// Returns the number of steps of this process that a device executed as one CUDA graph.
  int64_t replayed_steps() const { return epoch_loop_.replayed_steps(); }

 private:
  /// Returns false if there is no state to go on from.
  bool restore(std::vector<std::string>& warnings);
  RunOutcome perform(const PruneStep& step);
  /// Returns false if scoring was interrupted.
  bool prune_now(const PruneStep& step);
  RunOutcome perform(const RewindStep& step);
  RunOutcome perform(const Intervention& step);
  RunOutcome perform(const Cycle& cycle);
  RunOutcome train_epoch(const Cycle& cycle);
  /// Evaluates the network, or the average of its weights if the optimizer keeps one.
  std::optional<Evaluation> evaluate_in_training();
  RunOutcome finish_epoch(const Cycle& cycle);
  /// Checks and records the masks at the end of a cycle with a rule.
  void finish_rule(const Cycle& cycle);
  void finish_plan_step();
  RunOutcome finish_run();
  RunOutcome save_interrupted();
  bool evaluate_now(const Cycle& cycle) const;
  /// Records an evaluation after `epoch`. It becomes the best one if no better one exists since the
  /// density changed.
  void note(const Evaluation& evaluation, int64_t epoch);

  TrainingRun run_;
  HookList hooks_;
  RunWriter writer_;
  EpochLoop epoch_loop_;
  BatchFeed test_feed_;
  std::optional<Evaluation> after_prune_;  // set if a prune was the last step performed
};

}  // namespace sculpt
