#pragma once
// Reads what a command line asks for, and checks it before any work is done.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/run_options.h"
#include "engine/core/error.h"
#include "engine/run/network_file.h"
#include "engine/run/plan_files.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_lock.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

/// An error in the arguments, the config or the choice of folder. Nothing has been changed.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The way in which a run uses its folder.
enum class Start {
  fresh,        ///< the folder holds nothing yet
  go_on,        ///< the run goes on from the newest state
  show_result,  ///< the run has finished and shows its result
  extend,       ///< the run has finished the first steps of a longer plan and goes on with the rest
  restart,      ///< the old run is moved aside, and the new run starts
};

/// Returns true if the run goes on from what an earlier process has trained.
inline bool resumes(Start start) {
  return start == Start::go_on || start == Start::extend;
}

struct Request {
  RunOptions options;
  Plan plan;
  std::string config_toml;
  std::string config_hash;
  std::map<std::string, std::string> places;  ///< see ReadOptions::places
  std::string old_names_note;  ///< what a person should know about old names of keys; may be empty
  RunFolder folder{""};
  std::optional<std::pair<int64_t, int64_t>> profiled_steps;
  bool report = true;  ///< the run folder gets a report.html
  Start start = Start::fresh;
  std::string extended_hash;  ///< hash of the config of the run that is extended
  /// The lock of the run folder. --plan and --describe change no folder and take no lock.
  std::unique_ptr<RunLock> lock;
  /// The content of the file model.init_from. Empty if the key is not set, or if the file is
  /// missing when its run is resumed: a resumed run needs only the fingerprint in its checkpoints.
  std::optional<NetworkFile> initial;
  /// The files that the rest of the plan loads. Null on other ranks than rank 0, which loads them
  /// for all.
  std::unique_ptr<PlanFiles> files;
  /// The recorded choices between kernels, which a run that times kernels uses again: those of the
  /// run to resume, else those beside the config. kernel_choices_file is the file they were read
  /// from; empty if there is none.
  kernels::Choices kernel_choices;
  std::filesystem::path kernel_choices_file;
};

/// Returns the settings of section dist, which are needed before the ranks know each other. Throws
/// UsageError if the config cannot be read.
DistOptions dist_options(const CommandLine& line);

/// Reads the config, expands the plan, locks the run folder, and checks that the folder may be
/// used. Throws UsageError.
Request make_request(const CommandLine& line);

/// The decision that rank 0 takes after it has locked the run folder.
struct Decided {
  Start start;
  std::filesystem::path folder;
};
/// Makes the request of another rank, which neither locks nor looks at the folder.
Request make_request(const CommandLine& line, const Decided& decided);

}  // namespace sculpt
