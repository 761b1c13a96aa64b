#pragma once
// The arguments of sculpt_run.

#include <optional>
#include <string>
#include <vector>

namespace sculpt {

// Exit codes; also in --help.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
/// Interrupted, and a resumable checkpoint is on disk (EX_TEMPFAIL of sysexits.h).
inline constexpr int kExitInterrupted = 75;

struct CommandLine {
  std::string config;  ///< a file, or a run folder
  std::vector<std::string> settings;
  std::string out;
  bool resume = false;
  bool restart = false;
  bool plan = false;
  bool describe = false;
  int threads = 0;  ///< 0: one per processor
  std::string device = "auto";
  std::string profile;      ///< "FIRST:LAST" or empty
  std::string help_config;  ///< "", "text" or "markdown"
  bool version = false;
};

/// An exit code if the program is to end now (help, or arguments that are wrong).
std::optional<int> parse_command_line(int argc, const char* const* argv, CommandLine& line);

}  // namespace sculpt
