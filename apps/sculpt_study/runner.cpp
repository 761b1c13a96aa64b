#include "apps/sculpt_study/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/analyses.h"
#include "apps/sculpt_study/display.h"
#include "apps/sculpt_study/end_report.h"
#include "apps/sculpt_study/prepare.h"
#include "apps/sculpt_study/run_log.h"
#include "apps/sculpt_study/run_pages.h"
#include "apps/sculpt_study/run_process.h"
#include "apps/sculpt_study/run_progress.h"
#include "apps/sculpt_study/run_states.h"
#include "engine/core/error.h"
#include "engine/study/run_analyses.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(50);

/// A run at work.
struct Worker {
  size_t run = 0;
  std::unique_ptr<RunProcess> process;
  RunProgress progress;
  std::string gpu;
  std::string analysis;  ///< the analysis that the process makes; "" while the run trains
};

class Runner {
 public:
  Runner(const Study& study, const std::vector<ResolvedRun>& runs, const RunnerOptions& options)
      : study_(study),
        runs_(runs),
        options_(options),
        files_(study.folder),
        states_(study, runs, options.only),
        clock_(states_.done_epochs()) {}

  int run() {
    while (!workers_.empty() || (!interrupted() && !states_.is_over())) {
      collect();
      if (interrupted())
        stop();
      else
        start_runs();
      display_.show(shown());
      std::this_thread::sleep_for(kLook);
    }
    display_.clear();
    return report_end(study_, runs_, states_.schedule(), options_.only, options_.go_on);
  }

 private:
  std::string free_gpu() const {
    for (const std::string& gpu : options_.gpus)
      if (std::ranges::none_of(workers_, [&](const Worker& worker) { return worker.gpu == gpu; }))
        return gpu;
    return "";
  }

  void start_runs() {
    while (static_cast<int>(workers_.size()) < options_.jobs) {
      const std::optional<size_t> next = states_.next();
      if (!next) return say_elsewhere();
      states_.look_at(*next);  // another process may have started or finished the run meanwhile
      if (states_.schedule()[*next].state == JobState::waiting) start(*next);
    }
  }

  /// Says once that only other processes work.
  void say_elsewhere() {
    const int64_t elsewhere = states_.schedule().count(JobState::elsewhere);
    if (elsewhere == 0 || !workers_.empty() || std::exchange(said_elsewhere_, true)) return;
    display_.say_line(
        fmt::format("waiting for {} that other processes work on", counted(elsewhere, "run")));
  }

  /// Starts the training of a run, or goes on with it. A run that has finished training gets the
  /// next analysis that the study asks for.
  void start(size_t run) {
    const ResolvedRun& resolved = runs_[run];
    std::string analysis;
    if (status_of(study_, resolved).finished()) analysis = states_.open_analyses(run).front();
    const std::vector<std::string> words =
        analysis.empty()
            ? std::vector<std::string>{options_.program, files_.config(resolved.run).string(),
                                       "--out", resolved.folder.string(), "--resume"}
            : analysis_command(options_.analyzer, analysis, resolved.folder, resolved.threads);
    const fs::path log = files_.log(resolved.run);
    log_attempt(log, words);
    std::error_code error;
    if (!states_.has_failed_analysis(run)) fs::remove(files_.failure(resolved.run), error);
    const std::string gpu = free_gpu();
    workers_.push_back({run, std::make_unique<RunProcess>(words, log, gpu),
                        RunProgress(resolved.folder), gpu, analysis});
    started_[run] = Clock::now();
    states_.set(run, JobState::at_work);
    if (!out().redraws())
      display_.say_line(
          analysis.empty() ? fmt::format("{}: started", resolved.run.name)
                           : fmt::format("{}: analysis `{}` started", resolved.run.name, analysis));
  }

  /// Takes the runs whose processes have ended.
  void collect() {
    for (size_t i = 0; i < workers_.size();) {
      Worker& worker = workers_[i];
      worker.progress.update();
      states_.set_epochs(worker.run, worker.progress.epochs());
      const std::optional<ProcessEnd> end = worker.process->look();
      if (!end) {
        ++i;
        continue;
      }
      const size_t run = worker.run;
      const std::string analysis = worker.analysis;
      workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
      if (!analysis.empty() && end->exit_code == kExitOk)
        note_analysis(runs_[run].folder, analysis);
      ended(run, *end, analysis);
    }
  }

  /// `analysis` is the analysis that the process was to make; "" if it trained the run.
  void ended(size_t run, const ProcessEnd& end, const std::string& analysis) {
    const ResolvedRun& resolved = runs_[run];
    const StudyRunResult result = status_of(study_, resolved);
    // Another process may have been faster, and have finished the run.
    const bool ended_well =
        end.exit_code == kExitOk || (analysis.empty() && end.exit_code == kExitUsage);
    if (ended_well && result.finished()) return finish(run, result.records);
    // A process that has just been started has no handler for the signal yet.
    const bool stopped_early = stopping_ && end.signal == SIGTERM;
    if (end.exit_code == kExitInterrupted || stopped_early) {
      states_.set(run, JobState::interrupted);
      if (!interrupted())
        display_.say_line(
            fmt::format("{}: interrupted by a signal; its state is saved", resolved.run.name));
      return;
    }
    // Another process has taken the lock, and perhaps released it since.
    const bool was_locked =
        result.status == StudyRunStatus::running || says_in_use(files_.log(resolved.run));
    if (end.exit_code == kExitUsage && was_locked)
      states_.set(run, JobState::elsewhere);
    else
      fail_run(run, end, analysis);
  }

  /// Goes on with a run that has finished training, or whose analysis was made.
  void finish(size_t run, const RunRecords& records) {
    if (!states_.open_analyses(run).empty()) return states_.set(run, JobState::waiting);
    refresh_page(study_, runs_[run]);
    if (states_.has_failed_analysis(run)) return states_.set(run, JobState::failed);
    states_.set(run, JobState::finished);
    states_.set_epochs(run, runs_[run].epochs);
    say_finished(run, records);
  }

  void say_finished(size_t run, const RunRecords& records) {
    const double seconds = std::chrono::duration<double>(Clock::now() - started_.at(run)).count();
    const double left = clock_.seconds_left(states_.done_epochs(), states_.total_epochs());
    std::string text = fmt::format("{}: finished", runs_[run].run.name);
    if (const double accuracy = records.result("test_accuracy"); std::isfinite(accuracy))
      text += fmt::format(", accuracy {:.2f} %", 100 * accuracy);
    text += fmt::format(", {} ({} of {} runs", duration_text(seconds),
                        states_.schedule().count(JobState::finished), runs_.size());
    if (std::isfinite(left) && left > 0)
      text += fmt::format(", about {} left", duration_text(left));
    display_.say_line(text + ")");
  }

  void fail_run(size_t run, const ProcessEnd& end, const std::string& analysis) {
    const StudyRun& failed = runs_[run].run;
    note_failure(files_.failure(failed), end_of_last_attempt(files_.log(failed), kShownLogLines),
                 analysis, end.exit_code, end.signal);
    const std::string word = out().paint(Style::error, "failed");
    if (analysis.empty()) {
      states_.set(run, JobState::failed);
      display_.say_line(fmt::format("{}: {}; the others go on", failed.name, word));
    } else {
      states_.fail_analysis(run, analysis);
      refresh_page(study_, runs_[run]);
      display_.say_line(fmt::format("{}: analysis `{}` {}", failed.name, analysis, word));
    }
  }

  void stop() {
    if (stopping_) return;
    stopping_ = true;
    if (!workers_.empty())
      display_.say_line(fmt::format("stopping; {} at work {} their states",
                                    counted(static_cast<int64_t>(workers_.size()), "run"),
                                    workers_.size() == 1 ? "saves" : "save"));
    for (const Worker& worker : workers_)
      worker.process->send(SIGTERM);
  }

  ShownStudy shown() const {
    ShownStudy shown;
    shown.name = study_.name;
    shown.runs = static_cast<int64_t>(runs_.size());
    shown.finished = states_.schedule().count(JobState::finished);
    shown.failed = states_.schedule().count(JobState::failed);
    shown.elsewhere = states_.schedule().count(JobState::elsewhere);
    shown.epochs = states_.done_epochs();
    shown.total_epochs = states_.total_epochs();
    shown.seconds_left = clock_.seconds_left(shown.epochs, shown.total_epochs);
    for (const Worker& worker : workers_)
      shown.running.push_back({runs_[worker.run].run.name, worker.progress.epochs(),
                               runs_[worker.run].epochs, worker.progress.images_per_second(),
                               worker.progress.test_accuracy()});
    return shown;
  }

  const Study& study_;
  const std::vector<ResolvedRun>& runs_;
  const RunnerOptions& options_;
  const StudyFolder files_;
  RunStates states_;
  std::vector<Worker> workers_;
  std::map<size_t, Clock::time_point> started_;
  EpochClock clock_;
  StudyDisplay display_;
  bool said_elsewhere_ = false;
  bool stopping_ = false;
};

}  // namespace

int run_study(const Study& study, const std::vector<ResolvedRun>& runs,
              const RunnerOptions& options) {
  return Runner(study, runs, options).run();
}

}  // namespace sculpt
