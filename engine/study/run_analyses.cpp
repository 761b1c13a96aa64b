#include "engine/study/run_analyses.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sstream>
#include <string_view>

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

// Each failure ends with a line such as "the analysis `flips` ended with exit code 1". A log may
// mention the analysis as well, but not with these words behind it.
constexpr std::string_view kEnded = "ended with exit code ", kSignalled = "was ended by signal ";
constexpr std::string_view kProcess = "the process";

/// Returns how `what` has ended, if the line says that; "" otherwise.
std::string end_in(const std::string& line, std::string_view what) {
  if (!line.starts_with(what) || line.size() <= what.size()) return "";
  const std::string how = line.substr(what.size() + 1);
  return how.starts_with(kEnded) || how.starts_with(kSignalled) ? how : "";
}

/// Returns true if the line is the last one of a failure.
bool ends_failure(const std::string& line) {
  const size_t quote = line.rfind("` ");
  return !end_in(line, kProcess).empty() ||
         (quote != std::string::npos && !end_in(line, line.substr(0, quote + 1)).empty());
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

void note_failure(const fs::path& failure, const std::string& end_of_log,
                  const std::string& analysis, int exit_code, int signal) {
  const std::string what = analysis.empty() ? std::string(kProcess) : quoted_analysis(analysis);
  const std::string how = signal != 0
                              ? fmt::format("{}{} ({})", kSignalled, signal, strsignal(signal))
                              : fmt::format("{}{}", kEnded, exit_code);
  append_to_file(failure, fmt::format("{}\n{} {}\n", end_of_log, what, how));
}

std::vector<FailedAnalysis> failed_analyses(const fs::path& run_folder,
                                            const std::vector<std::string>& analyses,
                                            const fs::path& failure) {
  const std::vector<std::string> missing = missing_analyses(run_folder, analyses);
  if (missing.empty()) return {};
  const std::vector<std::string> lines = lines_of(failure);
  std::vector<FailedAnalysis> failed;
  for (const std::string& analysis : missing) {
    std::string said;  // the last line of this failure's log
    for (const std::string& line : lines) {
      if (const std::string how = end_in(line, quoted_analysis(analysis)); !how.empty()) {
        failed.push_back({analysis, how, said});
        break;
      }
      if (ends_failure(line))
        said.clear();
      else if (!line.empty())
        said = line;
    }
  }
  return failed;
}

std::string quoted_analysis(const std::string& analysis) {
  return fmt::format("the analysis `{}`", analysis);
}

}  // namespace sculpt
