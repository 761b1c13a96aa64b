#pragma once
// Converts the records of a run folder to lines of JSON. docs/run-folder.md documents every key.

#include <cstdint>
#include <map>
#include <string>

#include "engine/core/file_format.h"
#include "engine/run/run_state.h"
#include "engine/sparse/after_prune.h"
#include "engine/sparse/prune.h"
#include "kernels/tuning/pass_kernels.h"

namespace sculpt {

/// The formats of the record files. Every line carries its format, so that lines can be cut and
/// joined.
FileFormat metrics_format();
FileFormat prunes_format();
FileFormat layers_format();
/// The format of summary.json.
FileFormat summary_format();

/// One epoch, which is a line of metrics.jsonl. Accuracies are fractions; values that were not
/// evaluated are not a number.
struct EpochMetrics {
  int64_t cycle = 0;          ///< from 1
  int64_t cycle_epoch = 0;    ///< from 1, within the cycle
  int64_t epoch = 0;          ///< from 1, since the start of the run
  double lr = 0;              ///< learning rate of the epoch's last step
  double train_loss = 0;      ///< not a number if training diverged
  double train_accuracy = 0;  ///< not a number if training diverged
  double test_loss = NAN;
  double test_accuracy = NAN;
  double density = 1;
  double images_per_second = 0;  ///< counts training steps only
  double seconds = 0;            ///< training steps and evaluation together
  bool diverged = false;         ///< training diverged in this epoch, which ended the run
};
std::string to_json_line(const EpochMetrics& metrics);

/// One prune, which is a line of prunes.jsonl.
struct PruneMetrics {
  PruneStep step;
  int64_t plan_step = 0;
  int64_t epoch = 0;  ///< epochs trained before the prune
  int64_t prunable = 0;
  int64_t kept = 0;
  AfterPrune measured;
};
std::string to_json_line(const PruneMetrics& metrics);

/// The masks at the end of a cycle whose rule changed them, or after an intervention that did.
struct MaskReport {
  std::string changed_by;  ///< name of the rule, or of the intervention: "shuffle mask"
  int64_t prunable = 0;    ///< N
  int64_t kept = 0;
  std::vector<LayerKept> layers;
  /// Messages for the user about layers without any weight left.
  std::vector<std::string> warnings;
};

/// Maps the name of a weight to the kernels of its layer. Layers that have no choice between
/// kernels are missing.
using LayerKernels = std::map<std::string, kernels::PassKernels>;

/// Returns the lines of layers.jsonl that one prune adds: one line per prunable layer.
std::string layer_lines(const PruneReport& report, const LayerKernels& kernels, int64_t plan_step,
                        int64_t epoch);
/// Returns the lines of layers.jsonl that the end of a cycle with a rule, or an intervention, adds.
std::string layer_lines(const MaskReport& report, const LayerKernels& kernels, int64_t plan_step,
                        int64_t epoch);

/// The values of summary.json that do not come from the run's RunState.
struct RunIdentity {
  std::string method;
  uint64_t seed = 0;
  std::string model;
  std::string data;
  std::string evaluated_on = "test";  ///< the images of every accuracy: "test" or "validation"
  std::string device;                 ///< for example "cpu" or "cuda:0"
  std::string device_description;     ///< name of the GPU, if the device is one
  std::string backend;                ///< for example "cpu-avx512"
  std::string libraries;              ///< libraries that may compute convolutions, with versions
  int64_t threads = 1;
  int64_t ranks = 1;  ///< logical ranks with dist.reduction = exact
  /// The library that adds up over several ranks, if it decides the last bits: "Open MPI 4.1.4",
  /// "Sculpt's sockets 1".
  std::string rank_library = {};
  int64_t batch = 0;
  RunInputs inputs;
};
struct RunCost {
  int64_t prunable = 0;
  int64_t kept = 0;
  double dense_cycle_flops = 0;  ///< FLOPs of one cycle of train.epochs epochs without pruning
  int64_t peak_memory_bytes = 0;
  int64_t peak_device_memory_bytes = 0;
};
std::string summary_json(const RunIdentity& identity, const RunState& state, const RunCost& cost);

/// The values of a summary.json that are shown to people. A value that was not measured is not a
/// number.
struct RunSummary {
  std::string evaluated_on = "test";  ///< "test" or "validation"; older summaries lack this key
  double test_accuracy = NAN;
  double best_test_accuracy_at_final_density = NAN;
  int64_t best_epoch_at_final_density = 0;
  double sparsity = NAN;
  int64_t prunable = 0;
  int64_t kept = 0;
  int64_t epochs = 0;
  double train_flops_vs_dense = NAN;
  double seconds = NAN;
  double seconds_dense = NAN;
};
/// Throws Error naming the file if the text is not a complete summary, or has a newer format.
RunSummary parse_summary(const std::string& json, const std::string& name);

}  // namespace sculpt
