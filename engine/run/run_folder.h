#pragma once
// The folder a run leaves behind (docs/run-folder.md): the names of its files, and what is there.

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
  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  std::filesystem::path final_checkpoint() const { return checkpoints() / "final.safetensors"; }
  /// Position and totals of a finished run, without tensors.
  std::filesystem::path end_state() const { return checkpoints() / "end.safetensors"; }
  std::filesystem::path rewind_checkpoint(int64_t epoch) const;
  std::filesystem::path state(int64_t number) const;
  /// (number, path) of the resumable states, newest first.
  std::vector<std::pair<int64_t, std::filesystem::path>> states() const;

  /// The files above that are there, in no particular order.
  std::vector<std::filesystem::path> files() const;
  /// Missing, or a folder with nothing in it (a file that a killed process never completed and the
  /// lock count as nothing). Throws Error if the path is something else.
  bool empty() const;
  /// Has the run ended, and are its results there?
  bool finished() const;
  /// Is there a line in one of the record files?
  bool has_records() const;
  /// Throws Error if the folder is missing and could not be made, or could not be written to.
  /// Changes nothing.
  void require_writable() const;
  /// Makes the folder with its config.toml, and removes what a killed process left half-written
  /// under one of the names above.
  void prepare(const std::string& config_toml) const;

 private:
  std::filesystem::path root_;
};

/// Keys whose values differ between the folder's config and `values` ("section.key" -> TOML),
/// except those of `ignored`, as lines "key: before in the folder, now now".
std::map<std::string, std::string> config_differences(
    const RunFolder& folder, const std::map<std::string, std::string>& values,
    const std::set<std::string>& ignored);

/// Throws Error listing the differences if there are any.
void require_same_config(const RunFolder& folder, const std::map<std::string, std::string>& values,
                         const std::set<std::string>& ignored);

/// A run folder was started with other data, or from another file, than there are now.
class OtherInputs : public Error {
 public:
  using Error::Error;
};

/// Throws OtherInputs naming what differs, both fingerprints and the fix. What either side does not
/// know is taken as equal.
void require_same_inputs(const RunInputs& recorded, const RunInputs& now);

}  // namespace sculpt
