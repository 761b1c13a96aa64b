#include "apps/sculpt_study/analyses.h"

#include <algorithm>
#include <cstdint>
#include <sstream>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

fs::path list_of(const fs::path& run_folder) {
  return RunFolder(run_folder).analysis() / "commands.txt";
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return {};
  std::vector<std::string> lines;
  std::istringstream text(read_text(file));
  for (std::string line; std::getline(text, line);)
    lines.push_back(line);
  return lines;
}

}  // namespace

std::vector<std::string> missing_analyses(const fs::path& run_folder,
                                          const std::vector<std::string>& analyses) {
  if (analyses.empty()) return {};
  const std::vector<std::string> done = lines_of(list_of(run_folder));
  std::vector<std::string> missing;
  for (const std::string& analysis : analyses)
    if (std::ranges::find(done, analysis) == done.end()) missing.push_back(analysis);
  return missing;
}

void note_analysis(const fs::path& run_folder, const std::string& analysis) {
  append_to_file(list_of(run_folder), analysis + "\n");
}

std::vector<std::string> analysis_command(const std::string& analyzer, const std::string& analysis,
                                          const fs::path& run_folder, int64_t threads) {
  std::vector<std::string> words = {analyzer};
  std::istringstream text(analysis);
  for (std::string word; text >> word;)
    words.push_back(word);
  words.push_back(run_folder.string());
  words.push_back("--threads");
  words.push_back(std::to_string(threads));
  return words;
}

}  // namespace sculpt
