#pragma once
// Holds the files that the steps of a plan load ("load mask from runs/lrr"). They are read and
// checked before the run, so that a run does not fail at a late step.

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"
#include "engine/run/network_file.h"

namespace sculpt {

/// Returns the file that "load ... from PATH" reads: final.safetensors of a run folder, or the file
/// PATH.
std::filesystem::path file_to_load(const std::string& path);

class PlanFiles {
 public:
  /// Reads the files that the plan's steps from `first` (counted from 0) on load. Throws Error
  /// naming the step if a file cannot be read, is damaged, or belongs to a run that has not
  /// finished.
  static PlanFiles read(const Plan& plan, size_t first);

  /// Takes what the steps need out of the files. Throws Error naming the step, the file and the
  /// tensors if a file does not fit the network, or if a mask is wanted and it has none. Call it
  /// once.
  void fit_to(const ParameterArena& parameters);

  /// Returns what a step loads. Call fit_to() first.
  const StoredNetwork& of(const Intervention& step) const;
  /// Returns null if the file was not read, because the step is done.
  const StoredNetwork* find(const Intervention& step) const;

  /// Maps the path of each file, as the plan writes it, to the checksum of the whole file, as 16
  /// hexadecimal digits.
  std::map<std::string, std::string> fingerprints() const;

 private:
  struct Loaded {
    NetworkFile file;
    StoredNetwork values;
    std::string fingerprint;
  };
  // The key is the path and the part. Steps that load the same part of a file share an entry.
  std::map<std::pair<std::string, FilePart>, Loaded> files_;
};

}  // namespace sculpt
