#pragma once
// Files of a run folder: written whole or not at all, read whole, appended line by line. Every
// failure is one Error naming the file and what to do.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

using Bytes = std::span<const std::byte>;

/// Name that write_file gives a file until it is complete.
inline constexpr std::string_view kTemporarySuffix = ".tmp";

/// Writes the parts one after another to a temporary name beside `path`, flushes to disk, renames,
/// and flushes the folder: after a crash at any moment `path` holds its old or its new content.
void write_file(const std::filesystem::path& path, std::span<const Bytes> parts);
void write_file(const std::filesystem::path& path, std::string_view text);

std::vector<std::byte> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

/// A text file of one record a line, which only grows.
class LineFile {
 public:
  explicit LineFile(std::filesystem::path path) : path_(std::move(path)) {}

  /// Keeps the first `count` complete lines of an existing file and drops the rest. Throws Error if
  /// it has fewer.
  void truncate(size_t count);
  /// Appends whole lines (text ends in '\n') and flushes them to disk.
  void append(std::string_view text);

 private:
  std::filesystem::path path_;
};

}  // namespace sculpt
