#pragma once
// Reads the runs of a folder by its index, which is brought up to date.

#include <filesystem>

#include "engine/study/run_index.h"

namespace sculpt {

/// Returns the index file of a folder of runs, or of a study.
std::filesystem::path index_of(const std::filesystem::path& folder);

/// Returns the runs of a study, of a folder of runs, or the one run that the folder is. Rows of a
/// study have their variants. Analyses that have failed are among the problems.
IndexedRuns indexed(const std::filesystem::path& folder);

}  // namespace sculpt
