#pragma once
// The records of a run folder, as lines of JSON. docs/run-folder.md documents every key.

#include <cstdint>
#include <map>
#include <string>

#include "engine/run/run_state.h"
#include "engine/sparse/after_prune.h"
#include "engine/sparse/prune.h"

namespace sculpt {

/// One epoch, a line of metrics.jsonl. Accuracies are fractions; not a number = not evaluated.
struct EpochMetrics {
  int64_t cycle = 0;          ///< from 1
  int64_t cycle_epoch = 0;    ///< from 1, within the cycle
  int64_t epoch = 0;          ///< from 1, since the start of the run
  double lr = 0;              ///< of the epoch's last step
  double train_loss = 0;      ///< not a number if that is what it became
  double train_accuracy = 0;  ///< likewise
  double test_loss = NAN;
  double test_accuracy = NAN;
  double density = 1;
  double images_per_second = 0;  ///< training steps only
  double seconds = 0;            ///< steps and evaluation
  bool diverged = false;         ///< the epoch's training diverged, and the run ended with it
};
std::string to_json_line(const EpochMetrics& metrics);

/// One prune, a line of prunes.jsonl.
struct PruneMetrics {
  PruneStep step;
  int64_t plan_step = 0;
  int64_t epoch = 0;  ///< trained before
  int64_t prunable = 0;
  int64_t kept = 0;
  AfterPrune measured;
};
std::string to_json_line(const PruneMetrics& metrics);

/// By the name of the weight; layers without a choice between kernels are missing.
using LayerKernels = std::map<std::string, PassKernels>;

/// The lines of layers.jsonl that one prune adds: one a prunable layer.
std::string layer_lines(const PruneReport& report, const LayerKernels& kernels, int64_t plan_step,
                        int64_t epoch);

/// What summary.json says about a run besides its RunState.
struct RunIdentity {
  std::string method;
  uint64_t seed = 0;
  std::string model;
  std::string data;
  std::string evaluated_on = "test";  ///< images behind every accuracy: "test" or "validation"
  std::string device;                 ///< "cpu", "cuda:0"
  std::string device_description;     ///< of a GPU
  std::string backend;                ///< "cpu-avx512"
  std::string libraries;              ///< that may compute its convolutions, with versions
  int64_t threads = 1;
  int64_t batch = 0;
  RunInputs inputs;
};
struct RunCost {
  int64_t prunable = 0;
  int64_t kept = 0;
  double dense_cycle_flops = 0;  ///< of one cycle of train.epochs epochs without pruning
  int64_t peak_memory_bytes = 0;
  int64_t peak_device_memory_bytes = 0;
};
std::string summary_json(const RunIdentity& identity, const RunState& state, const RunCost& cost);

/// What people are shown of a summary.json. Not a number: was not measured.
struct RunSummary {
  std::string evaluated_on = "test";  ///< "test" or "validation"; older summaries do not say it
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
/// Throws Error naming the file if the text is not a whole summary.
RunSummary parse_summary(const std::string& json, const std::string& name);

}  // namespace sculpt
