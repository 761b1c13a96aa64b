#pragma once
// Decides which run of a study is started next. Knows nothing of processes.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sculpt {

/// The state of a run as one sculpt_study sees it.
enum class JobState {
  waiting,      ///< to be started
  at_work,      ///< this sculpt_study has started it
  elsewhere,    ///< another process holds its lock
  interrupted,  ///< it has saved its state because it was asked to end
  failed,
  blocked,  ///< a run that it needs has failed or was interrupted
  finished,
};

struct ScheduledRun {
  std::string name;
  std::vector<size_t> needs;  ///< indices of runs that must have finished before
  JobState state = JobState::waiting;
};

class Schedule {
 public:
  explicit Schedule(std::vector<ScheduledRun> runs) : runs_(std::move(runs)) {}

  const ScheduledRun& operator[](size_t run) const { return runs_[run]; }
  size_t size() const { return runs_.size(); }
  int64_t count(JobState state) const;

  /// Sets the state of a run. Waiting runs that need a failed or interrupted run become blocked.
  void set(size_t run, JobState state);

  /// Returns the first waiting run whose needs have finished; nothing if there is none.
  std::optional<size_t> next() const;
  /// Returns the runs that another process works on. They are looked at again in the end.
  std::vector<size_t> elsewhere() const;
  /// Returns true if no run is waiting, at work or elsewhere.
  bool is_over() const;

 private:
  std::vector<ScheduledRun> runs_;
};

}  // namespace sculpt
