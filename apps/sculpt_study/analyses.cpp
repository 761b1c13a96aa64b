#include "apps/sculpt_study/analyses.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <sstream>
#include <tuple>

#include "apps/sculpt_analyze/argument_check.h"
#include "apps/sculpt_run/request.h"
#include "engine/core/error.h"
#include "engine/study/run_analyses.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

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
