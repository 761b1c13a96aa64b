#pragma once
// The states of the runs while a study works, the epochs that each run has trained, and the
// analyses that have failed.

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apps/sculpt_study/resolve.h"
#include "apps/sculpt_study/schedule.h"

namespace sculpt {

class RunStates {
 public:
  /// Looks at the folders of all runs. `only` is the number of the only run to run; 0: all.
  RunStates(const Study& study, const std::vector<ResolvedRun>& runs, int64_t only);

  const Schedule& schedule() const { return schedule_; }
  void set(size_t run, JobState state) { schedule_.set(run, state); }
  void set_epochs(size_t run, int64_t epochs) { epochs_[run] = epochs; }

  /// Finds the state of a run in its folder, because another process may have changed it.
  void look_at(size_t run);
  /// Returns the run to start next. Looks again at the runs that other processes work on, at most
  /// once in a second.
  std::optional<size_t> next();
  /// Returns true if nothing is left to start or to wait for.
  bool is_over() const;

  /// Returns the analyses that a finished run lacks and that have not failed in this process.
  std::vector<std::string> open_analyses(size_t run) const;
  /// Notes that an analysis of the run has failed. The run waits for its other analyses, and has
  /// failed when they are made.
  void fail_analysis(size_t run, const std::string& analysis);
  /// Returns true if an analysis of the run has failed in this process.
  bool has_failed_analysis(size_t run) const;

  /// Returns the epochs that the runs of this process have trained.
  int64_t done_epochs() const;
  /// Returns the epochs of all runs that are or will be trained here.
  int64_t total_epochs() const;

 private:
  bool wanted(size_t run) const;
  void look_elsewhere();

  const Study& study_;
  const std::vector<ResolvedRun>& runs_;
  const int64_t only_;
  Schedule schedule_;
  std::vector<int64_t> epochs_;  // that each run has trained
  std::set<std::pair<size_t, std::string>> failed_analyses_;
  std::chrono::steady_clock::time_point last_look_;
};

}  // namespace sculpt
