#pragma once
// Where a run is: everything besides tensors that a resumed run needs in order to go on exactly.
// Stored as strings in a checkpoint's metadata.

#include <cmath>
#include <cstdint>
#include <map>
#include <string>

#include "engine/formats/safetensors.h"

namespace sculpt {

/// Sums over the steps done of an epoch.
struct EpochSums {
  double loss = 0;  ///< sum over images
  int64_t correct = 0;
  int64_t images = 0;
  double seconds = 0;  ///< wall time spent in its steps
};

/// How long the run's training steps would have taken on dense kernels
/// (engine/train/hooks/dense_timing.h).
struct DenseSeconds {
  /// Steps before the last change of masks: seconds on dense kernels.
  double dense_seconds_before = 0;
  /// Steps since the last change of masks: seconds as they ran.
  double seconds_current_mask = 0;
  /// Seconds on dense kernels / seconds as they ran, for the current masks. Not a number: not
  /// measured yet.
  double ratio = NAN;
  double measuring = 0;      ///< seconds spent on measuring the ratio; in no step's time
  int64_t sparse_steps = 0;  ///< steps trained on kernels that skip masked weights

  void masks_change() {
    dense_seconds_before = total();
    seconds_current_mask = 0;
    ratio = NAN;
  }
  /// Not a number if the ratio of some steps was not measured.
  double total() const {
    return seconds_current_mask > 0 ? dense_seconds_before + seconds_current_mask * ratio
                                    : dense_seconds_before;
  }
};

/// What a run reads, as fingerprints of 16 hexadecimal digits: a resumed run must read the same. An
/// empty fingerprint is not known, or there is nothing that it could be of.
struct RunInputs {
  std::string data_name;     ///< data.name; for messages
  std::string data;          ///< of the data set
  std::string initial_path;  ///< model.init_from; for messages
  std::string initial;       ///< of that file
};

/// The values that a hook remembers (engine/train/hooks/hook.h), by key.
using HookValues = std::map<std::string, std::string>;

struct RunState {
  // Position. plan_step is the step being executed; the three below are 0 between Train steps.
  int64_t plan_step = 0;
  int64_t cycle = 0;        ///< Train steps finished
  int64_t cycle_epoch = 0;  ///< epochs finished in this cycle
  int64_t epoch_step = 0;   ///< optimizer steps finished in this epoch
  EpochSums sums;
  int64_t pruned = 0;  ///< 1: plan_step is a prune whose masks are made; measuring it is left

  // Totals since the start of the run.
  int64_t epochs = 0;
  int64_t steps = 0;
  int64_t images = 0;
  double flops = 0;
  double seconds = 0;        ///< wall time
  double train_seconds = 0;  ///< of it in training steps
  DenseSeconds dense;

  // Results so far; not a number until there is one.
  double train_loss = NAN;
  double test_loss = NAN;
  double test_accuracy = NAN;
  /// The best of the evaluations since the kept weights last changed, and its epoch.
  double best_test_accuracy_at_density = NAN;
  int64_t best_epoch_at_density = 0;

  // What the files beside the checkpoints held when it was written.
  int64_t metrics_lines = 0;
  int64_t layer_lines = 0;
  int64_t prune_lines = 0;
  int64_t saves = 0;  ///< resumable checkpoints written; the number in their names

  /// The hooks that RunParts::hooks adds to a run, by name, and what they remember.
  std::map<std::string, HookValues> hooks;

  void density_changes() {
    best_test_accuracy_at_density = NAN;
    best_epoch_at_density = 0;
  }

  /// The numbers of all these.
  template <class Visitor>
  void visit(Visitor&& v) {
    v("plan_step", plan_step);
    v("cycle", cycle);
    v("cycle_epoch", cycle_epoch);
    v("epoch_step", epoch_step);
    v("sum_loss", sums.loss);
    v("sum_correct", sums.correct);
    v("sum_images", sums.images);
    v("sum_seconds", sums.seconds);
    v("pruned", pruned);
    v("epochs", epochs);
    v("steps", steps);
    v("images", images);
    v("flops", flops);
    v("seconds", seconds);
    v("train_seconds", train_seconds);
    v("dense_earlier", dense.dense_seconds_before);
    v("dense_since", dense.seconds_current_mask);
    v("dense_ratio", dense.ratio);
    v("dense_measuring", dense.measuring);
    v("sparse_steps", dense.sparse_steps);
    v("train_loss", train_loss);
    v("test_loss", test_loss);
    v("test_accuracy", test_accuracy);
    v("best_test_accuracy_at_density", best_test_accuracy_at_density);
    v("best_epoch_at_density", best_epoch_at_density);
    v("metrics_lines", metrics_lines);
    v("layer_lines", layer_lines);
    v("prune_lines", prune_lines);
    v("saves", saves);
  }
};

/// Exact both ways. What the hook "x" remembers under the key "y" is at "hook.x.y", and "hooks" has
/// the names of all hooks, separated by spaces; the key is missing if there are none.
safetensors::Metadata to_metadata(RunState state);
/// Throws Error naming the file if a key is missing or no number.
RunState state_from(const safetensors::File& file);

}  // namespace sculpt
