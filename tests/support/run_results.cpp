#include "tests/support/run_results.h"

#include <sstream>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"

namespace sculpt::testing {

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::vector<nlohmann::json> timeless(std::vector<nlohmann::json> records) {
  for (nlohmann::json& record : records)
    for (const char* key : {"seconds", "seconds_dense", "seconds_measuring_dense", "train_seconds",
                            "train_seconds_dense", "images_per_second", "peak_memory_bytes",
                            "peak_device_memory_bytes"})
      record.erase(key);
  return records;
}

nlohmann::json summary_of(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read_text(RunFolder(folder).summary()));
}

std::vector<std::byte> final_of(const std::filesystem::path& folder) {
  return read_file(RunFolder(folder).final_checkpoint());
}

std::string results_of(const std::filesystem::path& folder) {
  const RunFolder files(folder);
  std::vector<nlohmann::json> records = lines_of(files.metrics());
  records.push_back(summary_of(folder));
  std::string text = read_text(files.final_checkpoint());
  for (const nlohmann::json& record : timeless(records))
    text += record.dump() + "\n";
  return text;
}

}  // namespace sculpt::testing
