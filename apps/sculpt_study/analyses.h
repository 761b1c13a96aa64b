#pragma once
// Remembers which analyses of a study a finished run has. The list lies beside the results of the
// analyses, so studies that share the run share them, too.

#include <filesystem>
#include <string>
#include <vector>

namespace sculpt {

/// Returns those of the analyses (Study::analyses) that the run does not have yet.
std::vector<std::string> missing_analyses(const std::filesystem::path& run_folder,
                                          const std::vector<std::string>& analyses);

/// Notes that the run has an analysis now.
void note_analysis(const std::filesystem::path& run_folder, const std::string& analysis);

/// Returns the command line of an analysis: `analyzer` WORDS... RUN_FOLDER --threads N.
std::vector<std::string> analysis_command(const std::string& analyzer, const std::string& analysis,
                                          const std::filesystem::path& run_folder, int64_t threads);

}  // namespace sculpt
