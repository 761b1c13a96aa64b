#include "apps/sculpt_study/run_log.h"

#include <ctime>
#include <fmt/chrono.h>

#include "apps/sculpt_study/end_report.h"
#include "engine/core/files.h"
#include "engine/core/shell_word.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

// A part of the message of sculpt_run about a folder that another process works in.
constexpr const char* kInUse = " is in use by ";
// Begins the line of a log with the command of an attempt.
constexpr const char* kAttempt = "== ";

}  // namespace

void log_attempt(const std::filesystem::path& log, const std::vector<std::string>& words) {
  std::string command;
  for (const std::string& word : words)
    command += " " + shell_word(word);
  append_to_file(log, fmt::format("{}{:%Y-%m-%d %H:%M:%S}{}\n", kAttempt,
                                  fmt::localtime(std::time(nullptr)), command));
}

std::string end_of_last_attempt(const std::filesystem::path& log, size_t count) {
  const std::string text = last_lines(log, count);
  const size_t attempt = text.rfind(std::string("\n") + kAttempt);
  return attempt == std::string::npos ? text : text.substr(attempt + 1);
}

bool says_in_use(const std::filesystem::path& log) {
  return end_of_last_attempt(log, kShownLogLines).find(kInUse) != std::string::npos;
}

}  // namespace sculpt
