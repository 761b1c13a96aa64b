#pragma once
// Finding and reading the files of a data set, with errors that say what to do.

#include <cstdint>
#include <string>
#include <vector>

namespace sculpt::data {

/// Throws Error unless root is a folder; the message says how to get the data set.
void require_folder(const std::string& dataset, const std::string& root);

/// "'tools/get_data NAME --to DIR' fetches it": the end of every message about a missing file.
std::string fetch_hint(const std::string& dataset, const std::string& root);

/// The folder among root and root/subfolder that holds `file`. Throws Error if
/// neither holds it.
std::string find_folder(const std::string& dataset, const std::string& root,
                        const std::string& subfolder, const std::string& file);

/// The whole file. If expected_bytes >= 0, any other size is an error.
std::vector<uint8_t> read_file(const std::string& path, int64_t expected_bytes,
                               const std::string& dataset);

}  // namespace sculpt::data
