#pragma once
// Files of a run folder: written whole or not at all, read whole, appended to. Every failure is one
// Error naming the file and what to do.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

using Bytes = std::span<const std::byte>;

/// write_file appends this to a file's name until the file is complete. The suffix is one that no
/// other program uses, because files that end in it are removed from a run folder.
inline constexpr std::string_view kTemporarySuffix = ".sculpt-tmp";

/// Writes the parts one after another to a temporary name beside `path`, flushes to disk, renames,
/// and flushes the folder: after a crash at any moment `path` holds its old or its new content.
void write_file(const std::filesystem::path& path, std::span<const Bytes> parts);
void write_file(const std::filesystem::path& path, std::string_view text);

std::vector<std::byte> read_file(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

/// Appends the text to the file, which is made if it is missing, and flushes it to disk.
void append_to_file(const std::filesystem::path& path, std::string_view text);

/// Flushes the names in a folder to disk. File systems that cannot do so are left alone.
void flush_folder(const std::filesystem::path& folder);

}  // namespace sculpt
