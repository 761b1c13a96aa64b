#pragma once
// Parses the arguments of sculpt_report.

#include <optional>
#include <string>
#include <vector>

namespace sculpt {

struct ReportCommand {
  std::vector<std::string> inputs;  ///< run folders, and folders with run folders in them
  std::string out;                  ///< "": beside the input
  std::string format = "html";
  std::string tensorboard;  ///< folder for event files; "": none
  bool watch = false;
};

/// Fills `command`. Returns an exit code if the program is to end now, after --help or because
/// arguments are wrong.
std::optional<int> parse_report_command(int argc, const char* const* argv, ReportCommand& command);

}  // namespace sculpt
