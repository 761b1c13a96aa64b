#pragma once
// The log of a run of a study, which has the output of every attempt.

#include <filesystem>
#include <string>
#include <vector>

namespace sculpt {

/// Writes the time and the command of an attempt to the end of a log.
void log_attempt(const std::filesystem::path& log, const std::vector<std::string>& words);

/// Returns the last lines of the last attempt in a log, at most `count`.
std::string end_of_last_attempt(const std::filesystem::path& log, size_t count);

/// Returns true if the last attempt in a log ended because another process works in the folder.
bool says_in_use(const std::filesystem::path& log);

}  // namespace sculpt
