#include "apps/sculpt_study/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fmt/chrono.h>
#include <map>
#include <memory>
#include <set>
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
#include "apps/sculpt_study/run_process.h"
#include "apps/sculpt_study/run_progress.h"
#include "apps/sculpt_study/schedule.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/shell_word.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(50);
// A run that another process holds is looked at again after this time.
constexpr auto kLookElsewhere = std::chrono::seconds(1);
// A part of the message of sculpt_run about a folder that another process works in.
constexpr const char* kInUse = " is in use by ";
// Begins the line of a log with the command of an attempt.
constexpr const char* kAttempt = "== ";

/// Returns true if the last attempt in a log ended because another process works in the folder.
bool says_in_use(const fs::path& log) {
  const std::string text = last_lines(log, kShownLogLines);
  const size_t attempt = text.rfind(kAttempt);
  return text.find(kInUse, attempt == std::string::npos ? 0 : attempt) != std::string::npos;
}

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
        schedule_(scheduled(runs)),
        epochs_(runs.size(), 0) {
    for (size_t run = 0; run < runs_.size(); ++run)
      look_at(run);
    clock_ = std::make_unique<EpochClock>(done_epochs());
  }

  int run() {
    while (!is_over()) {
      collect();
      if (interrupted())
        stop();
      else
        start_runs();
      display_.show(shown());
      std::this_thread::sleep_for(kLook);
    }
    display_.clear();
    return report_end(study_, runs_, schedule_, options_.only, options_.go_on);
  }

 private:
  static std::vector<ScheduledRun> scheduled(const std::vector<ResolvedRun>& runs) {
    std::vector<ScheduledRun> all;
    for (const ResolvedRun& run : runs) {
      ScheduledRun one{run.run.name, {}, JobState::waiting};
      for (const int64_t number : run.run.needs)
        one.needs.push_back(static_cast<size_t>(number - 1));
      all.push_back(std::move(one));
    }
    return all;
  }

  bool wanted(size_t run) const {
    return options_.only == 0 || runs_[run].run.number == options_.only;
  }

  bool is_over() const {
    if (!workers_.empty()) return false;
    if (interrupted()) return true;
    if (options_.only == 0) return schedule_.is_over();
    const JobState state = schedule_[static_cast<size_t>(options_.only - 1)].state;
    return state != JobState::waiting && state != JobState::elsewhere;
  }

  /// Finds the state of a run in its folder.
  void look_at(size_t run) {
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

  std::string free_gpu() const {
    for (const std::string& gpu : options_.gpus)
      if (std::ranges::none_of(workers_, [&](const Worker& worker) { return worker.gpu == gpu; }))
        return gpu;
    return "";
  }

  void start_runs() {
    while (static_cast<int>(workers_.size()) < options_.jobs) {
      const std::optional<size_t> next = next_run();
      if (!next) return;
      look_at(*next);  // another process may have started or finished the run meanwhile
      if (schedule_[*next].state == JobState::waiting) start(*next);
    }
  }

  std::optional<size_t> next_run() {
    if (options_.only != 0) {
      const auto run = static_cast<size_t>(options_.only - 1);
      if (schedule_[run].state == JobState::elsewhere) look_elsewhere();
      if (schedule_[run].state != JobState::waiting) return std::nullopt;
      return run;
    }
    if (const auto next = schedule_.next()) return next;
    look_elsewhere();
    return schedule_.next();
  }

  /// Looks again at the runs that other processes work on.
  void look_elsewhere() {
    const auto now = Clock::now();
    if (now - last_look_ < kLookElsewhere) return;
    last_look_ = now;
    for (const size_t run : schedule_.elsewhere())
      look_at(run);
    if (schedule_.elsewhere().empty() || said_elsewhere_ || !workers_.empty()) return;
    said_elsewhere_ = true;
    display_.say_line(fmt::format("waiting for {} that other processes work on",
                                  counted(schedule_.count(JobState::elsewhere), "run")));
  }

  /// Starts the training of a run, or goes on with it. A run that has finished training gets the
  /// next analysis that the study asks for.
  void start(size_t run) {
    const ResolvedRun& resolved = runs_[run];
    std::string analysis;
    if (status_of(study_, resolved).finished()) analysis = open_analyses(run).front();
    const std::vector<std::string> words =
        analysis.empty()
            ? std::vector<std::string>{options_.program, files_.config(resolved.run).string(),
                                       "--out", resolved.folder.string(), "--resume"}
            : analysis_command(options_.analyzer, analysis, resolved.folder, resolved.threads);
    std::string command;
    for (const std::string& word : words)
      command += " " + shell_word(word);
    const fs::path log = files_.log(resolved.run);
    append_to_file(log, fmt::format("{}{:%Y-%m-%d %H:%M:%S}{}\n", kAttempt,
                                    fmt::localtime(std::time(nullptr)), command));
    std::error_code error;
    const bool analysis_failed =
        std::ranges::any_of(failed_analyses_, [&](const auto& one) { return one.first == run; });
    if (!analysis_failed) fs::remove(files_.failure(resolved.run), error);
    const std::string gpu = free_gpu();
    workers_.push_back({run, std::make_unique<RunProcess>(words, log, gpu),
                        RunProgress(resolved.folder), gpu, analysis});
    started_[run] = Clock::now();
    schedule_.set(run, JobState::at_work);
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
      epochs_[worker.run] = worker.progress.epochs();
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

  /// Returns the analyses that a finished run lacks and that have not failed here.
  std::vector<std::string> open_analyses(size_t run) const {
    std::vector<std::string> open = missing_analyses(runs_[run].folder, study_.analyses);
    std::erase_if(open, [&](const std::string& analysis) {
      return failed_analyses_.contains({run, analysis});
    });
    return open;
  }

  /// Goes on after an analysis that has failed. The run counts as failed when the others are made.
  void fail_analysis(size_t run, const std::string& analysis, const ProcessEnd& end) {
    failed_analyses_.insert({run, analysis});
    write_failure(run, fmt::format("the analysis `{}`", analysis), end);
    display_.say_line(fmt::format("{}: analysis `{}` {}", runs_[run].run.name, analysis,
                                  out().paint(Style::error, "failed")));
    schedule_.set(run, open_analyses(run).empty() ? JobState::failed : JobState::waiting);
  }

  /// `analysis` is the analysis that the process was to make; "" if it trained the run.
  void ended(size_t run, const ProcessEnd& end, const std::string& analysis) {
    const ResolvedRun& resolved = runs_[run];
    const StudyRunResult result = status_of(study_, resolved);
    // Another process may have been faster, and have finished the run.
    const bool ended_well =
        end.exit_code == kExitOk || (analysis.empty() && end.exit_code == kExitUsage);
    if (ended_well && result.finished()) {
      if (!open_analyses(run).empty()) {
        schedule_.set(run, JobState::waiting);
        return;
      }
      if (!missing_analyses(resolved.folder, study_.analyses).empty()) {
        schedule_.set(run, JobState::failed);
        return;
      }
      schedule_.set(run, JobState::finished);
      epochs_[run] = resolved.epochs;
      say_finished(run, result.records);
      return;
    }
    // A process that has just been started has no handler for the signal yet.
    const bool stopped_early = stopping_ && end.signal == SIGTERM;
    if (end.exit_code == kExitInterrupted || stopped_early) {
      schedule_.set(run, JobState::interrupted);
      if (!interrupted())
        display_.say_line(
            fmt::format("{}: interrupted by a signal; its state is saved", resolved.run.name));
      return;
    }
    // Another process has taken the lock, and perhaps released it since.
    const bool was_locked =
        result.status == StudyRunStatus::running || says_in_use(files_.log(resolved.run));
    if (end.exit_code == kExitUsage && was_locked) {
      schedule_.set(run, JobState::elsewhere);
      return;
    }
    if (!analysis.empty()) return fail_analysis(run, analysis, end);
    fail_run(run, end);
  }

  void say_finished(size_t run, const RunRecords& records) {
    const double seconds = std::chrono::duration<double>(Clock::now() - started_.at(run)).count();
    const double left = clock_->seconds_left(done_epochs(), total_epochs());
    std::string text = fmt::format("{}: finished", runs_[run].run.name);
    if (const double accuracy = records.result("test_accuracy"); std::isfinite(accuracy))
      text += fmt::format(", accuracy {:.2f} %", 100 * accuracy);
    text += fmt::format(", {} ({} of {} runs", duration_text(seconds),
                        schedule_.count(JobState::finished), runs_.size());
    if (std::isfinite(left) && left > 0)
      text += fmt::format(", about {} left", duration_text(left));
    display_.say_line(text + ")");
  }

  /// Keeps the end of the log of a run that has failed. `what` has ended.
  void write_failure(size_t run, const std::string& what, const ProcessEnd& end) {
    const ResolvedRun& resolved = runs_[run];
    const std::string reason =
        end.signal != 0
            ? fmt::format("was ended by signal {} ({})", end.signal, strsignal(end.signal))
            : fmt::format("ended with exit code {}", end.exit_code);
    const std::string text = fmt::format(
        "{}\n{} {}\n", last_lines(files_.log(resolved.run), kShownLogLines), what, reason);
    write_file(files_.failure(resolved.run), text);
  }

  void fail_run(size_t run, const ProcessEnd& end) {
    write_failure(run, "the process", end);
    schedule_.set(run, JobState::failed);
    display_.say_line(fmt::format("{}: {}; the others go on", runs_[run].run.name,
                                  out().paint(Style::error, "failed")));
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

  int64_t done_epochs() const {
    int64_t sum = 0;
    for (size_t run = 0; run < runs_.size(); ++run)
      if (wanted(run)) sum += epochs_[run];
    return sum;
  }

  /// Returns the epochs of all runs that are or will be trained here.
  int64_t total_epochs() const {
    int64_t sum = 0;
    for (size_t run = 0; run < runs_.size(); ++run) {
      if (!wanted(run)) continue;
      const JobState state = schedule_[run].state;
      const bool ends_early = state == JobState::failed || state == JobState::blocked;
      sum += ends_early ? epochs_[run] : runs_[run].epochs;
    }
    return sum;
  }

  ShownStudy shown() const {
    ShownStudy shown;
    shown.name = study_.name;
    shown.runs = static_cast<int64_t>(runs_.size());
    shown.finished = schedule_.count(JobState::finished);
    shown.failed = schedule_.count(JobState::failed);
    shown.elsewhere = schedule_.count(JobState::elsewhere);
    shown.epochs = done_epochs();
    shown.total_epochs = total_epochs();
    shown.seconds_left = clock_->seconds_left(shown.epochs, shown.total_epochs);
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
  Schedule schedule_;
  std::vector<int64_t> epochs_;  // that each run has trained
  std::vector<Worker> workers_;
  std::map<size_t, Clock::time_point> started_;
  std::set<std::pair<size_t, std::string>> failed_analyses_;  // in this process
  std::unique_ptr<EpochClock> clock_;
  StudyDisplay display_;
  Clock::time_point last_look_;
  bool said_elsewhere_ = false;
  bool stopping_ = false;
};

}  // namespace

int run_study(const Study& study, const std::vector<ResolvedRun>& runs,
              const RunnerOptions& options) {
  return Runner(study, runs, options).run();
}

}  // namespace sculpt
