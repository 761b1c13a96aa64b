#pragma once
// Reads and writes the records of a run (metrics.jsonl, layers.jsonl and prunes.jsonl). A file has
// one JSON object per line, and lines are only ever appended. A resumed run removes the records
// that are newer than its checkpoint.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/file_format.h"

namespace sculpt {

class RecordFile {
 public:
  /// A line that carries another format than a version of `format` does not count as a record.
  RecordFile(std::filesystem::path path, FileFormat format)
      : path_(std::move(path)), format_(format) {}

  /// Returns true if the file is missing or holds nothing but white space.
  bool empty() const;
  /// Appends whole lines (the text ends in '\n') and flushes them to disk.
  void append(std::string_view lines);

  /// Throws Error naming the file if a line carries a newer version of the format. Changes nothing.
  void require_known_format() const;

  /// Describes the records that had been written before a checkpoint.
  struct Extent {
    int64_t count = 0;
    /// Every record written before the checkpoint has a number of at most `last` under `key`.
    std::string_view key;
    int64_t last = 0;
  };
  /// Keeps the records written before a checkpoint and drops newer ones. Restores lost line breaks.
  /// If records are missing or cannot be read, the original file is kept under another name, and
  /// the readable records stay. Returns the number of records that are left. `warnings` describe
  /// every repair.
  int64_t keep(const Extent& extent, std::vector<std::string>& warnings);

 private:
  std::filesystem::path path_;
  FileFormat format_;
};

}  // namespace sculpt
