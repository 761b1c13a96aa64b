#pragma once
// Checks the analyses of a study, and remembers which of them a finished run has. The list lies
// beside the results of the analyses, so studies that share the run share them, too.

#include <filesystem>
#include <string>
#include <vector>

#include "apps/sculpt_study/resolve.h"

namespace sculpt {

/// Throws UsageError with the place in the study file if sculpt_analyze would refuse the arguments
/// of an analysis, if a setting among them is wrong, or if an analysis needs checkpoints that a run
/// will not keep.
void require_analyses(const Study& study, const std::vector<ResolvedRun>& runs);

/// Returns those of the analyses (Study::analyses) that the run does not have yet.
std::vector<std::string> missing_analyses(const std::filesystem::path& run_folder,
                                          const std::vector<std::string>& analyses);

/// Returns those of the missing analyses that have failed in the last attempt. `failure` is
/// StudyFolder::failure() of the run.
std::vector<std::string> failed_analyses(const std::filesystem::path& run_folder,
                                         const std::vector<std::string>& analyses,
                                         const std::filesystem::path& failure);

/// Returns "the analysis `flips`", as the file of a failure names it.
std::string quoted_analysis(const std::string& analysis);

/// Notes that the run has an analysis now.
void note_analysis(const std::filesystem::path& run_folder, const std::string& analysis);

/// Returns the command line of an analysis: `analyzer` NAME RUN_FOLDER OPTIONS... --threads N.
std::vector<std::string> analysis_command(const std::string& analyzer, const std::string& analysis,
                                          const std::filesystem::path& run_folder, int64_t threads);

}  // namespace sculpt
