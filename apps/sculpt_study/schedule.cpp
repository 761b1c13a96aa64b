#include "apps/sculpt_study/schedule.h"

#include <algorithm>

namespace sculpt {

int64_t Schedule::count(JobState state) const {
  return std::ranges::count(runs_, state, &ScheduledRun::state);
}

void Schedule::set(size_t run, JobState state) {
  runs_[run].state = state;
  const bool ended_without_result =
      state == JobState::failed || state == JobState::blocked || state == JobState::interrupted;
  if (!ended_without_result) return;
  for (size_t other = 0; other < runs_.size(); ++other) {
    const bool needs_it = std::ranges::find(runs_[other].needs, run) != runs_[other].needs.end();
    if (needs_it && runs_[other].state == JobState::waiting) set(other, JobState::blocked);
  }
}

std::optional<size_t> Schedule::next() const {
  for (size_t run = 0; run < runs_.size(); ++run) {
    if (runs_[run].state != JobState::waiting) continue;
    const bool ready = std::ranges::all_of(
        runs_[run].needs, [&](size_t other) { return runs_[other].state == JobState::finished; });
    if (ready) return run;
  }
  return std::nullopt;
}

std::vector<size_t> Schedule::elsewhere() const {
  std::vector<size_t> found;
  for (size_t run = 0; run < runs_.size(); ++run)
    if (runs_[run].state == JobState::elsewhere) found.push_back(run);
  return found;
}

bool Schedule::is_over() const {
  return count(JobState::waiting) + count(JobState::at_work) + count(JobState::elsewhere) == 0;
}

}  // namespace sculpt
