#pragma once
// Runs the runs of a study, as many at a time as asked.

#include <string>
#include <vector>

#include "apps/sculpt_study/resolve.h"

namespace sculpt {

struct RunnerOptions {
  int jobs = 1;
  std::string program;            ///< path of sculpt_run
  std::vector<std::string> gpus;  ///< names of GPUs that runs get in turn; empty: all runs see all
  int64_t only = 0;               ///< number of the only run to run; 0: all
  std::string go_on;              ///< the command that goes on, for messages
};

/// Runs everything that has not finished, and returns the exit code of the program: 0 if all runs
/// have finished, 1 if some have failed, 75 if a signal has stopped the study.
int run_study(const Study& study, const std::vector<ResolvedRun>& runs,
              const RunnerOptions& options);

}  // namespace sculpt
