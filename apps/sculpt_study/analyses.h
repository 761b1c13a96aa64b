#pragma once
// The command lines of the analyses that a study asks for.

#include <filesystem>
#include <string>
#include <vector>

#include "apps/sculpt_study/resolve.h"

namespace sculpt {

/// Throws UsageError with the place in the study file if sculpt_analyze would refuse the arguments
/// of an analysis, if a setting among them is wrong, or if an analysis needs checkpoints that a run
/// will not keep.
void require_analyses(const Study& study, const std::vector<ResolvedRun>& runs);

/// Returns the command line of an analysis: `analyzer` NAME RUN_FOLDER OPTIONS... --threads N.
std::vector<std::string> analysis_command(const std::string& analyzer, const std::string& analysis,
                                          const std::filesystem::path& run_folder, int64_t threads);

}  // namespace sculpt
