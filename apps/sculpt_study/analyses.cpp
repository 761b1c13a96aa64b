#include "apps/sculpt_study/analyses.h"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <set>
#include <sstream>
#include <tuple>

#include "apps/sculpt_analyze/argument_check.h"
#include "apps/sculpt_run/request.h"
#include "engine/core/error.h"
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

/// Throws Error if sculpt_analyze would refuse an analysis of runs with this base config and this
/// number of threads.
void require_analysis(const std::string& analysis, const std::string& base, int64_t threads) {
  std::vector<std::string> words = analysis_command("sculpt_analyze", analysis, "RUN", threads);
  words.erase(words.begin());
  read_options(base, analyze::check_arguments(words));
}

/// Throws UsageError if an analysis needs checkpoints that a run will not keep.
void require_kept_cycles(const Study& study, const std::vector<ResolvedRun>& runs) {
  const bool needed = std::ranges::any_of(
      study.analyses, [](const std::string& words) { return words.starts_with("connectivity"); });
  if (!needed) return;
  for (const ResolvedRun& run : runs)
    if (const auto keep = run.values.find("train.keep");
        keep != run.values.end() && keep->second == "\"none\"")
      throw UsageError(fmt::format(
          "run {} keeps no checkpoints of its cycles, which the analysis `connectivity` needs; set "
          "train.keep = \"cycles\"",
          run.run.name));
}

}  // namespace

void require_analyses(const Study& study, const std::vector<ResolvedRun>& runs) {
  std::set<std::tuple<std::string, std::string, int64_t>> checked;
  for (const ResolvedRun& run : runs)
    for (const std::string& analysis : study.analyses) {
      if (!checked.emplace(analysis, run.run.base, run.threads).second) continue;
      try {
        require_analysis(analysis, run.run.base, run.threads);
      } catch (const Error& error) {
        throw UsageError(fmt::format("{}: {}: {}", study.analyses_source, quoted_analysis(analysis),
                                     error.what()));
      }
    }
  require_kept_cycles(study, runs);
}

std::vector<std::string> missing_analyses(const fs::path& run_folder,
                                          const std::vector<std::string>& analyses) {
  if (analyses.empty()) return {};
  const std::vector<std::string> done = lines_of(list_of(run_folder));
  std::vector<std::string> missing;
  for (const std::string& analysis : analyses)
    if (std::ranges::find(done, analysis) == done.end()) missing.push_back(analysis);
  return missing;
}

std::vector<std::string> failed_analyses(const fs::path& run_folder,
                                         const std::vector<std::string>& analyses,
                                         const fs::path& failure) {
  std::vector<std::string> failed = missing_analyses(run_folder, analyses);
  const std::vector<std::string> lines = lines_of(failure);
  std::erase_if(failed, [&](const std::string& analysis) {
    const std::string name = quoted_analysis(analysis);
    return std::ranges::none_of(lines, [&](const std::string& line) {
      return line.starts_with(name + " ended with ") || line.starts_with(name + " was ended by ");
    });
  });
  return failed;
}

std::string quoted_analysis(const std::string& analysis) {
  return fmt::format("the analysis `{}`", analysis);
}

void note_analysis(const fs::path& run_folder, const std::string& analysis) {
  append_to_file(list_of(run_folder), analysis + "\n");
}

std::vector<std::string> analysis_command(const std::string& analyzer, const std::string& analysis,
                                          const fs::path& run_folder, int64_t threads) {
  std::vector<std::string> words = {analyzer};
  std::istringstream text(analysis);
  // The run stands before the options, because an option with several values would take it.
  for (std::string word; text >> word;) {
    words.push_back(word);
    if (words.size() == 2) words.push_back(run_folder.string());
  }
  words.push_back("--threads");
  words.push_back(std::to_string(threads));
  return words;
}

}  // namespace sculpt
