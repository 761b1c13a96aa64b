#pragma once
// Finds and reads the runs that a command names.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/run/run_reader.h"

namespace sculpt {

/// Returns the run folders that the arguments name, each once: run folders, and those inside of
/// other folders. Throws Error naming the argument if it leads to no run.
std::vector<std::filesystem::path> run_folders(const std::vector<std::string>& inputs);

struct ReadRuns {
  std::vector<RunRecords> runs;       ///< in the order of the folders
  std::vector<std::string> problems;  ///< a sentence for each folder that cannot be read
};
/// Reads the folders, several at a time. Throws Error if none can be read.
ReadRuns read_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace sculpt
