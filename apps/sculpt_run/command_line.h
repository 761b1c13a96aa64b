#pragma once
// Parses the arguments of sculpt_run.

#include <optional>
#include <string>
#include <vector>

#include "engine/config/config_document.h"

namespace sculpt {

// The exit codes. --help lists them, too.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
/// The run was interrupted, and a resumable checkpoint is on disk (EX_TEMPFAIL of sysexits.h).
inline constexpr int kExitInterrupted = 75;
// kExitRankLost (76) is defined in engine/dist/communicator.h.

struct CommandLine {
  std::string config;  ///< the path of a config file or of a run folder
  std::vector<Setting> settings;
  std::string out;
  bool resume = false;
  bool restart = false;
  int ranks = 0;           ///< 0: as many as the launcher has started, or one
  std::string ranks_by;    ///< "mpi", "sockets", or "": whatever is there
  bool no_report = false;  ///< the run folder gets no report.html
  bool plan = false;
  bool describe = false;
  std::string profile;      ///< "FIRST:LAST" or empty
  std::string help_config;  ///< "", "text" or "markdown"
  bool version = false;
};

/// Fills `line`. Returns an exit code if the program is to end now, after --help or because
/// arguments are wrong.
std::optional<int> parse_command_line(int argc, const char* const* argv, CommandLine& line);

}  // namespace sculpt
