#pragma once
// These functions access the files of a run folder. A file is written completely or not at all; it
// can be read completely or appended to. Every failure throws one Error that names the file and
// what to do.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/error.h"

namespace sculpt {

/// Thrown if a file cannot be written. The message ends with what makes writing possible. A program
/// adds how a person then goes on with its work.
class CannotWrite : public Error {
 public:
  using Error::Error;
};

using Bytes = std::span<const std::byte>;

/// write_file() appends this to a file's name until the file is complete. The suffix is one that no
/// other program uses, because files that end in it are removed from a run folder.
inline constexpr std::string_view kTemporarySuffix = ".sculpt-tmp";

/// Writes the parts one after another to a temporary name beside `path`, flushes to disk, renames,
/// and flushes the folder: after a crash at any moment `path` holds its old or its new content.
/// Throws CannotWrite.
void write_file(const std::filesystem::path& path, std::span<const Bytes> parts);
void write_file(const std::filesystem::path& path, std::string_view text);

std::vector<std::byte> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

/// Appends the text to the file and flushes it to disk. Creates the file if it is missing. Throws
/// CannotWrite.
void append_to_file(const std::filesystem::path& path, std::string_view text);

/// Throws CannotWrite naming the file or folder in the way if `folder` cannot take a new file. The
/// folder need not exist: then the nearest folder above it must take a new folder. Writes and
/// removes an empty file to find out, and leaves nothing behind.
void require_writable(const std::filesystem::path& folder);

/// Flushes the names in a folder to disk. Does nothing on file systems that cannot do so.
void flush_folder(const std::filesystem::path& folder);

}  // namespace sculpt
