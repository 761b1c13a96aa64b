#pragma once
// The SQLite file of run_index.h.

#include <filesystem>
#include <map>
#include <string>

#include "engine/study/run_rows.h"

namespace sculpt {

struct IndexEntry {
  RunRow row;
  std::string stamp;  ///< changes whenever the results of the run may have changed
};

/// Entries by the path of the run's folder, from the folder of the index.
using IndexEntries = std::map<std::string, IndexEntry>;

/// Reads an index. Returns nothing if the file does not exist, if another version of this program
/// wrote it, or without SQLite. Throws Error naming the file if it is damaged.
IndexEntries read_index(const std::filesystem::path& file);

/// Writes the entries under a temporary name, and replaces the index by them. Does nothing without
/// SQLite. Throws Error naming the file if it cannot be written.
void write_index(const std::filesystem::path& file, const IndexEntries& entries);

}  // namespace sculpt
