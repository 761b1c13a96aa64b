#pragma once
// What a command line asks for, checked before any work is done.

#include <optional>
#include <string>
#include <utility>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/run_options.h"
#include "engine/core/error.h"
#include "engine/train/run_folder.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

/// An error of arguments, config or choice of folder: nothing has been changed.
class UsageError : public Error {
 public:
  using Error::Error;
};

struct Request {
  RunOptions options;
  Plan plan;
  std::string config_toml;
  std::string config_hash;
  RunFolder folder;
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
  /// Choices between kernels to make again where they are timed: those of the run to resume, else
  /// those beside the config; and where they come from, empty if there are none.
  kernels::Choices kernel_choices;
  std::filesystem::path kernel_choices_file;
};

/// Reads the config, expands the plan, and checks that the run folder may be used. Throws
/// UsageError.
Request make_request(const CommandLine& line);

}  // namespace sculpt
