#pragma once
// Reads what a run leaves in its folder.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"

namespace sculpt::testing {

/// Returns the records of a file that has one JSON object in each line.
inline std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Returns records without the keys that depend on the clock and on the machine's memory.
inline std::vector<nlohmann::json> timeless(std::vector<nlohmann::json> records) {
  for (nlohmann::json& record : records)
    for (const char* key : {"seconds", "seconds_dense", "seconds_measuring_dense", "train_seconds",
                            "train_seconds_dense", "images_per_second", "peak_memory_bytes",
                            "peak_device_memory_bytes"})
      record.erase(key);
  return records;
}

inline nlohmann::json summary_of(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read_text(RunFolder(folder).summary()));
}

inline std::vector<std::byte> final_of(const std::filesystem::path& folder) {
  return read_file(RunFolder(folder).final_checkpoint());
}

/// Returns the final checkpoint, the metrics and the summary as one text, without what depends on
/// the clock and on the machine's memory. Two runs with the same results give the same text.
inline std::string results_of(const std::filesystem::path& folder) {
  const RunFolder files(folder);
  std::vector<nlohmann::json> records = lines_of(files.metrics());
  records.push_back(summary_of(folder));
  std::string text = read_text(files.final_checkpoint());
  for (const nlohmann::json& record : timeless(records))
    text += record.dump() + "\n";
  return text;
}

}  // namespace sculpt::testing
