#pragma once
// The records of a run, metrics.jsonl and layers.jsonl: one JSON object a line, only ever appended
// to. A resumed run cuts them back to its checkpoint.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

class RecordFile {
 public:
  explicit RecordFile(std::filesystem::path path) : path_(std::move(path)) {}

  /// Is the file missing, or without a single record, whole or half-written?
  bool empty() const;
  /// Appends whole lines (the text ends in '\n') and flushes them to disk.
  void append(std::string_view lines);

  /// What a checkpoint says about the records that were written before it.
  struct Extent {
    int64_t count = 0;
    /// No record before the checkpoint has a larger number under `key`.
    std::string_view key;
    int64_t last = 0;
  };
  /// Keeps the records written before a checkpoint and drops newer ones. A lost line break is put
  /// back. If records are missing or cannot be read, the file as it was is kept under another name,
  /// and the others stay. Returns the number of records that are left; `warnings` tell of every
  /// repair.
  int64_t keep(const Extent& extent, std::vector<std::string>& warnings);

 private:
  std::filesystem::path path_;
};

}  // namespace sculpt
