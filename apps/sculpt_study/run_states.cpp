#include "apps/sculpt_study/run_states.h"

#include <algorithm>

#include "apps/sculpt_study/prepare.h"
#include "apps/sculpt_study/run_progress.h"
#include "engine/study/run_analyses.h"

namespace sculpt {
namespace {

// A run that another process holds is looked at again after this time.
constexpr auto kLookElsewhere = std::chrono::seconds(1);

std::vector<ScheduledRun> scheduled(const std::vector<ResolvedRun>& runs) {
  std::vector<ScheduledRun> all;
  for (const ResolvedRun& run : runs) {
    ScheduledRun one{run.run.name, {}, JobState::waiting};
    for (const int64_t number : run.run.needs)
      one.needs.push_back(static_cast<size_t>(number - 1));
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

RunStates::RunStates(const Study& study, const std::vector<ResolvedRun>& runs, int64_t only)
    : study_(study), runs_(runs), only_(only), schedule_(scheduled(runs)), epochs_(runs.size(), 0) {
  for (size_t run = 0; run < runs_.size(); ++run)
    look_at(run);
}

bool RunStates::wanted(size_t run) const {
  return only_ == 0 || runs_[run].run.number == only_;
}

bool RunStates::is_over() const {
  if (only_ == 0) return schedule_.is_over();
  const JobState state = schedule_[static_cast<size_t>(only_ - 1)].state;
  return state != JobState::waiting && state != JobState::elsewhere;
}

void RunStates::look_at(size_t run) {
  const StudyRunResult result = status_of(study_, runs_[run]);
  if (result.finished()) {
    const bool analysed = missing_analyses(runs_[run].folder, study_.analyses).empty();
    schedule_.set(run, analysed ? JobState::finished : JobState::waiting);
    epochs_[run] = runs_[run].epochs;
  } else if (result.status == StudyRunStatus::running) {
    schedule_.set(run, JobState::elsewhere);
  } else {
    schedule_.set(run, JobState::waiting);
    epochs_[run] = RunProgress(runs_[run].folder).epochs();
  }
}

std::optional<size_t> RunStates::next() {
  if (only_ != 0) {
    const auto run = static_cast<size_t>(only_ - 1);
    if (schedule_[run].state == JobState::elsewhere) look_elsewhere();
    if (schedule_[run].state != JobState::waiting) return std::nullopt;
    return run;
  }
  if (const auto next = schedule_.next()) return next;
  look_elsewhere();
  return schedule_.next();
}

void RunStates::look_elsewhere() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_look_ < kLookElsewhere) return;
  last_look_ = now;
  for (const size_t run : schedule_.elsewhere())
    look_at(run);
}

std::vector<std::string> RunStates::open_analyses(size_t run) const {
  std::vector<std::string> open = missing_analyses(runs_[run].folder, study_.analyses);
  std::erase_if(open, [&](const std::string& analysis) {
    return failed_analyses_.contains({run, analysis});
  });
  return open;
}

void RunStates::fail_analysis(size_t run, const std::string& analysis) {
  failed_analyses_.insert({run, analysis});
  schedule_.set(run, open_analyses(run).empty() ? JobState::failed : JobState::waiting);
}

bool RunStates::has_failed_analysis(size_t run) const {
  return std::ranges::any_of(failed_analyses_, [&](const auto& one) { return one.first == run; });
}

int64_t RunStates::done_epochs() const {
  int64_t sum = 0;
  for (size_t run = 0; run < runs_.size(); ++run)
    if (wanted(run)) sum += epochs_[run];
  return sum;
}

int64_t RunStates::total_epochs() const {
  int64_t sum = 0;
  for (size_t run = 0; run < runs_.size(); ++run) {
    if (!wanted(run)) continue;
    const JobState state = schedule_[run].state;
    const bool ends_early = state == JobState::failed || state == JobState::blocked;
    sum += ends_early ? epochs_[run] : runs_[run].epochs;
  }
  return sum;
}

}  // namespace sculpt
