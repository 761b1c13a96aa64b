#pragma once
// The analyses that a study asks for (Study::analyses), as its run folders have them. A list beside
// the results says which have been made, so studies that share a run share its analyses, too. The
// file of a run's failures (StudyFolder::failure()) says which have failed.

#include <filesystem>
#include <string>
#include <vector>

namespace sculpt {

/// Returns those of the analyses that the run does not have yet.
std::vector<std::string> missing_analyses(const std::filesystem::path& run_folder,
                                          const std::vector<std::string>& analyses);

/// Notes that the run has an analysis now.
void note_analysis(const std::filesystem::path& run_folder, const std::string& analysis);

/// Appends a failure to the file `failure`, which need not exist: the end of the log, and a line
/// that says how the process has ended. `analysis` is the analysis that the process was to make; ""
/// if it trained the run. `signal` is 0 if no signal has ended the process.
void note_failure(const std::filesystem::path& failure, const std::string& end_of_log,
                  const std::string& analysis, int exit_code, int signal);

struct FailedAnalysis {
  std::string analysis;
  std::string how;   ///< "ended with exit code 1", "was ended by signal 9 (Killed)"
  std::string said;  ///< the last line of the log before the failure; may be empty
};

/// Returns those of the missing analyses that have failed in the last attempt.
std::vector<FailedAnalysis> failed_analyses(const std::filesystem::path& run_folder,
                                            const std::vector<std::string>& analyses,
                                            const std::filesystem::path& failure);

/// Returns "the analysis `flips`".
std::string quoted_analysis(const std::string& analysis);

}  // namespace sculpt
