#pragma once
// Checks the runs of a study before the first one starts, with the checks of sculpt_run --plan.

#include <string>
#include <vector>

#include "apps/sculpt_study/resolve.h"

namespace sculpt {

/// The cost of a run, as it is known before the run starts.
struct RunCheck {
  int64_t number = 0;
  double flops = 0;    ///< training FLOPs of the plan
  double seconds = 0;  ///< estimated time of the run with its start and end; 0 without timing
  bool timed = false;  ///< true if steps of this run were timed; false: estimated from other runs
  int64_t images = 0;  ///< training images of an epoch
};

struct StudyCheck {
  std::vector<RunCheck> runs;
  /// Each text begins with the name of the first run that it concerns, and says how many others it
  /// concerns.
  std::vector<std::string> warnings;
  int gpus = 0;  ///< GPUs of this machine, if a run uses one
};

/// Returns the time that a run takes besides training and evaluation steps: its process starts, and
/// writes records, checkpoints and a page. The two constants were measured with runs of a tiny
/// network, of 1 to 16 epochs, on a disk. `setup` is the time that data and network took here.
double seconds_besides_steps(double setup, int64_t epochs);

/// Builds the network of each run, and checks the run as sculpt_run would. Runs that differ only in
/// the seed are checked once. With `timing`, also times a few steps of each, until a minute is
/// over; without it, the study is about to start, and its data sets are read. All of this happens
/// in another process. Throws Error that names the run and the fix.
///
/// The files that the plan of a run loads are checked only if they exist: the runs that a run needs
/// make them.
StudyCheck check_runs(const std::vector<ResolvedRun>& runs, bool timing);

}  // namespace sculpt
