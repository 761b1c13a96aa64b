#pragma once
// The log of a run of a study, which has the output of every attempt, and the end of it that is
// kept if an attempt fails.

#include <filesystem>
#include <string>
#include <vector>

#include "apps/sculpt_study/run_process.h"

namespace sculpt {

/// Writes the time and the command of an attempt to the end of a log.
void log_attempt(const std::filesystem::path& log, const std::vector<std::string>& words);

/// Returns true if the last attempt in a log ended because another process works in the folder.
bool says_in_use(const std::filesystem::path& log);

/// Writes the end of the log and a line that says how `what` has ended, such as "the process ended
/// with exit code 1" or "the process was ended by signal 9", to the end of the file `failure`.
/// Creates the file if it is missing.
void keep_failure(const std::filesystem::path& failure, const std::filesystem::path& log,
                  const std::string& what, const ProcessEnd& end);

}  // namespace sculpt
