#pragma once
// What a command line asks for, checked before any work is done.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/run_options.h"
#include "engine/core/error.h"
#include "engine/run/initial_network.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_lock.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

/// An error of arguments, config or choice of folder: nothing has been changed.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The way in which a run uses its folder.
enum class Start {
  fresh,        ///< nothing is there yet
  go_on,        ///< from the newest state
  show_result,  ///< the run has finished
  extend,       ///< the run has finished a plan that the plan asked for begins with
  restart,      ///< the run in the folder is put aside
};

/// Does the run go on from what an earlier process trained?
inline bool resumes(Start start) {
  return start == Start::go_on || start == Start::extend;
}

struct Request {
  RunOptions options;
  Plan plan;
  std::string config_toml;
  std::string config_hash;
  RunFolder folder;
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
  Start start = Start::fresh;
  std::string extended_hash;  ///< hash of the config of the run that is extended
  /// Lock of the run folder; none for --plan and --describe, which change no folder.
  std::unique_ptr<RunLock> lock;
  /// The file of model.init_from. None if that is not set, or if the file of a run that is resumed
  /// is not there any more: the run needs only what it says in its checkpoints.
  std::optional<InitialNetwork> initial;
  /// Choices between kernels to make again where they are timed: those of the run to resume, else
  /// those beside the config; and where they come from, empty if there are none.
  kernels::Choices kernel_choices;
  std::filesystem::path kernel_choices_file;
};

/// Reads the config, expands the plan, locks the run folder, and checks that it may be used. Throws
/// UsageError.
Request make_request(const CommandLine& line);

}  // namespace sculpt
