#pragma once
// Describes how far a run has come: everything besides tensors that a resumed run needs in order to
// continue with the same bits. A checkpoint stores these values as strings in its metadata.

#include <cmath>
#include <cstdint>
#include <map>
#include <string>

#include "engine/formats/safetensors.h"

namespace sculpt {

/// Sums over the finished steps of an epoch.
struct EpochSums {
  double loss = 0;  ///< sum over images
  int64_t correct = 0;
  int64_t images = 0;
  double seconds = 0;  ///< wall time of these steps
};

/// Estimates how long the run's training steps would have taken on dense kernels
/// (engine/train/hooks/dense_timing.h).
struct DenseSeconds {
  /// Seconds on dense kernels of the steps before the last change of masks.
  double dense_seconds_before = 0;
  /// Seconds that the steps since the last change of masks took.
  double seconds_current_mask = 0;
  /// Seconds on dense kernels divided by the seconds that steps take, for the current masks. Not a
  /// number until measured.
  double ratio = NAN;
  double measuring = 0;      ///< seconds spent on measuring the ratio; no step's time includes them
  int64_t sparse_steps = 0;  ///< steps trained on kernels that skip masked weights

  void masks_change() {
    dense_seconds_before = total();
    seconds_current_mask = 0;
    ratio = NAN;
  }
  /// Returns not a number if the ratio was not measured for some steps.
  double total() const {
    return seconds_current_mask > 0 ? dense_seconds_before + seconds_current_mask * ratio
                                    : dense_seconds_before;
  }
};

/// Identifies what a run reads by fingerprints of 16 hexadecimal digits; a resumed run must read
/// the same. A fingerprint is empty if it is unknown or if the run reads no such thing.
struct RunInputs {
  std::string data_name;      ///< data.name, for messages
  bool data_is_made = false;  ///< the program makes the data set, and reads no files
  std::string data;           ///< fingerprint of the data set
  std::string initial_path;   ///< model.init_from, for messages
  std::string initial;        ///< fingerprint of the file model.init_from
  /// Maps the paths of the files that steps of the plan load to their fingerprints.
  std::map<std::string, std::string> loaded = {};
};

/// The values that a hook remembers (engine/train/hooks/hook.h), by key.
using HookValues = std::map<std::string, std::string>;

struct RunState {
  // The position in the plan. plan_step is the step being executed; the next three numbers are 0
  // between cycles.
  int64_t plan_step = 0;
  int64_t cycle = 0;        ///< cycles finished
  int64_t cycle_epoch = 0;  ///< epochs finished in this cycle
  int64_t epoch_step = 0;   ///< optimizer steps finished in this epoch
  EpochSums sums;
  /// The density at which the present or the last cycle began. Rules that change masks begin there.
  double cycle_density = 1;
  /// 1 if plan_step is a prune that has changed the masks but has not been measured yet.
  int64_t pruned = 0;

  // Totals since the start of the run.
  int64_t epochs = 0;
  int64_t steps = 0;
  int64_t images = 0;
  double flops = 0;
  /// The sum of the density over all training steps. Not a number if the run was started by a
  /// version that did not record it.
  double density_sum = 0;
  double seconds = 0;        ///< wall time of the run
  double train_seconds = 0;  ///< wall time of training steps, a part of `seconds`
  DenseSeconds dense;

  // The latest results; not a number until there is one.
  double train_loss = NAN;
  double test_loss = NAN;
  double test_accuracy = NAN;
  /// The best evaluation since the number of kept weights last changed, or since an intervention,
  /// and its epoch.
  double best_test_accuracy_at_density = NAN;
  int64_t best_epoch_at_density = 0;

  // Sizes of the files beside the checkpoints when the checkpoint was written.
  int64_t metrics_lines = 0;
  int64_t layer_lines = 0;
  int64_t prune_lines = 0;
  int64_t saves = 0;  ///< resumable checkpoints written; the number in the newest name

  /// Maps the names of the hooks that RunParts::hooks adds to a run to the values that these hooks
  /// remember.
  std::map<std::string, HookValues> hooks;
  /// Maps the names of the values that the optimizer remembers besides its arrays to the values.
  /// Empty for SGD.
  std::map<std::string, std::string> optimizer;

  void density_changes() {
    best_test_accuracy_at_density = NAN;
    best_epoch_at_density = 0;
  }

  /// Visits the numbers that checkpoints of earlier versions lack.
  template <class Visitor>
  void visit_new(Visitor&& v) {
    v("density_sum", density_sum);
    v("cycle_density", cycle_density);
  }

  /// Visits every other number above.
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

/// Converts a state to metadata; state_from() restores exactly the same state. A value that the
/// hook "x" remembers under the key "y" has the key "hook.x.y". The key "hooks" has the names of
/// all hooks, separated by spaces, and is missing if there are none. A value that the optimizer
/// remembers under the key "y" has the key "optimizer.y".
safetensors::Metadata to_metadata(RunState state);
/// Throws Error naming the file, or the source `name`, if a key is missing or is not a number.
RunState state_from(const safetensors::File& file);
RunState state_from(const safetensors::Metadata& metadata, const std::string& name);

}  // namespace sculpt
