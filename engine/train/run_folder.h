#pragma once
// The folder a run leaves behind (docs/run-folder.md): names of its files, and its checkpoints'
// life cycle.

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/train/checkpoint.h"
#include "engine/train/files.h"
#include "engine/train/metrics.h"
#include "engine/train/run_state.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path config() const { return root_ / "config.toml"; }
  std::filesystem::path environment() const { return root_ / "environment.json"; }
  std::filesystem::path kernel_choices() const { return root_ / "kernel_choices.json"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  std::filesystem::path layers() const { return root_ / "layers.jsonl"; }
  std::filesystem::path prunes() const { return root_ / "prunes.jsonl"; }
  std::filesystem::path summary() const { return root_ / "summary.json"; }
  std::filesystem::path final_checkpoint() const { return checkpoints() / "final.safetensors"; }
  std::filesystem::path rewind_checkpoint(int64_t epoch) const;
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }

  /// Missing, or a folder with nothing in it (a file that a killed process never completed counts
  /// as nothing). Throws Error if the path is something else.
  bool empty() const;
  /// Has the run ended?
  bool finished() const;
  /// Makes the folder with its config.toml, and removes what a killed process left half-written.
  void prepare(const std::string& config_toml) const;

 private:
  std::filesystem::path root_;
};

/// Throws Error listing the keys whose values differ between the folder's config and `values`
/// ("section.key" -> TOML), except those of `ignored`, which do not change results.
void require_same_config(const RunFolder& folder, const std::map<std::string, std::string>& values,
                         const std::set<std::string>& ignored);

/// Writes and finds a run's checkpoints and records.
class RunStore {
 public:
  RunStore(RunFolder folder, std::string config_hash)
      : folder_(std::move(folder)), config_hash_(std::move(config_hash)) {}

  const RunFolder& folder() const { return folder_; }

  /// Restores the newest resumable checkpoint that is not damaged, and cuts the records back to it.
  /// Nothing if the folder has none. Damaged ones are reported in `warnings`; Error if there are
  /// only damaged ones.
  std::optional<RunState> restore(ParameterArena& parameters, std::vector<std::string>& warnings);
  /// Cuts the records back to the start of the run.
  void reset();

  /// The next resumable checkpoint; the one before is kept too, older ones are removed.
  void save(ParameterArena& parameters, RunState& state);
  void save_rewind(ParameterArena& parameters, int64_t epoch);
  /// Sets weights and batch-norm state; masks stay and are applied.
  void load_rewind(ParameterArena& parameters, int64_t epoch);

  /// Writes kernel_choices.json if these choices are not in it yet. Called before save(), so that
  /// the file holds the choices of every state.
  void save_kernel_choices(const kernels::Choices& choices);
  void add_metrics(const EpochMetrics& metrics, RunState& state);
  void add_layers(const PruneReport& report, const LayerKernels& kernels, RunState& state);

  void add_prune(const PruneMetrics& metrics, RunState& state);

  /// final.safetensors (no wall-clock time in it), then summary.json, then removal of the resumable
  /// checkpoints.
  void finish(ParameterArena& parameters, const RunState& state, const RunIdentity& identity,
              const RunCost& cost);

 private:
  std::filesystem::path state_path(int64_t number) const;
  /// (number, path), newest first.
  std::vector<std::pair<int64_t, std::filesystem::path>> states() const;
  safetensors::Metadata base_metadata() const;
  safetensors::File read(const std::filesystem::path& path) const;

  RunFolder folder_;
  std::string config_hash_;
  kernels::Choices saved_choices_;
};

}  // namespace sculpt
