#pragma once
// Names the files of a run folder (docs/run-folder.md) and finds out which of them exist.

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/run/records.h"

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
  /// The folder of the files that analyses of the run have written.
  std::filesystem::path analysis() const { return root_ / "analysis"; }
  /// The page that shows the run to people, and the folder of its numbers beside it.
  std::filesystem::path report() const { return root_ / "report.html"; }
  std::filesystem::path report_data() const { return root_ / "report-data"; }
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  std::filesystem::path final_checkpoint() const { return checkpoints() / "final.safetensors"; }
  /// Holds the position and totals of a finished run, without tensors.
  std::filesystem::path end_state() const { return checkpoints() / "end.safetensors"; }
  std::filesystem::path rewind_checkpoint(int64_t epoch) const;
  /// The network at the end of training cycle `cycle`, counted from 1 (train.keep).
  std::filesystem::path cycle_checkpoint(int64_t cycle) const;
  /// Returns (cycle, path) of the checkpoints of cycles, in ascending order.
  std::vector<std::pair<int64_t, std::filesystem::path>> cycle_checkpoints() const;
  std::filesystem::path state(int64_t number) const;
  /// Returns (number, path) of the resumable states, newest first.
  std::vector<std::pair<int64_t, std::filesystem::path>> states() const;

  /// Returns those of the files above that exist, in no particular order. The folder of the
  /// report's numbers counts as one file.
  std::vector<std::filesystem::path> files() const;
  /// Returns true if the folder is missing or holds nothing. The lock, and a file that a killed
  /// process never completed, count as nothing. Throws Error if the path is something other than a
  /// folder.
  bool empty() const;
  /// Returns true if the run has ended and its results are in the folder.
  bool finished() const;
  /// Returns true if the run has written a state or its end.
  bool has_checkpoints() const { return !states().empty() || finished(); }
  /// Returns true if one of the record files has a line.
  bool has_records() const;
  /// Throws Error if the folder cannot be made or cannot be written to. Changes nothing.
  void require_writable() const;
  /// Makes the folder with its config.toml, and removes files with one of the names above that a
  /// killed process left half-written.
  void prepare(const std::string& config_toml) const;

 private:
  std::filesystem::path root_;
};

/// Compares the config of a folder with `values` ("section.key" -> TOML text). Returns the keys
/// that differ, except those of `ignored`, each with a line such as "key: 1 in the folder, 2 now".
std::map<std::string, std::string> config_differences(
    const std::map<std::string, std::string>& stored,
    const std::map<std::string, std::string>& values, const std::set<std::string>& ignored);

/// Throws Error naming the folder and listing the differences if the configs differ.
void require_same_config(const RunFolder& folder, const std::map<std::string, std::string>& stored,
                         const std::map<std::string, std::string>& values,
                         const std::set<std::string>& ignored);

/// Thrown if a run folder was started with other data, or from another initial file, than the
/// present run has.
class OtherInputs : public Error {
 public:
  using Error::Error;
};

/// Throws OtherInputs that names the difference, both fingerprints and the fix. A fingerprint that
/// either side does not know counts as equal.
void require_same_inputs(const RunInputs& recorded, const RunInputs& now);

}  // namespace sculpt
