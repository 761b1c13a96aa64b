#pragma once
// Reads what a run leaves in its folder.

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sculpt::testing {

/// Returns the records of a file that has one JSON object in each line.
std::vector<nlohmann::json> lines_of(const std::filesystem::path& path);

/// Returns records without the keys that depend on the clock and on the machine's memory.
std::vector<nlohmann::json> timeless(std::vector<nlohmann::json> records);

/// Returns the summary of the run in a folder, and the bytes of its final checkpoint.
nlohmann::json summary_of(const std::filesystem::path& folder);
std::vector<std::byte> final_of(const std::filesystem::path& folder);

/// Returns the final checkpoint, the metrics and the summary as one text, without what depends on
/// the clock and on the machine's memory. Two runs with the same results give the same text.
std::string results_of(const std::filesystem::path& folder);

}  // namespace sculpt::testing
