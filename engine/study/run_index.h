#pragma once
// The index of runs: an SQLite file that holds what the run folders say, so that a thousand of them
// need not be read again. The folders are the truth. The index can be removed at any time, and is
// made again from the folders.
//
// Tables: runs(id, folder, status, method, seed, stamp), settings(run, key, value) and results(run,
// key, value). `folder` is a path from the folder of the index. Programs may query them while
// nothing refreshes the index.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/study/run_rows.h"

namespace sculpt {

struct IndexedRuns {
  std::vector<RunRow> rows;  ///< in the order of the folders
  int64_t read = 0;          ///< run folders that were read, because the index had no newer entry
  /// One whole sentence for everything that could not be read or written.
  std::vector<std::string> problems;
  std::string not_written;  ///< why the index could not be written; "" if it is up to date
};

/// Returns the rows of these run folders. Reads only folders that have changed since the index was
/// written, and brings the index up to date: runs that are not among `folders` are removed from it.
/// A damaged index is made again. If the index cannot be written, or if this program was built
/// without SQLite, all folders are read.
IndexedRuns indexed_runs(const std::filesystem::path& index,
                         const std::vector<std::filesystem::path>& folders,
                         RenamedKeys renamed = {});

/// Returns true if this program was built with SQLite.
bool has_sqlite();

}  // namespace sculpt
