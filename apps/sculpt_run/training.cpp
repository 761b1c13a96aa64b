#include "apps/sculpt_run/training.h"

#include <filesystem>
#include <mutex>
#include <optional>
#include <sstream>

#include "apps/common/failure_text.h"
#include "apps/sculpt_run/environment.h"
#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/inputs.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/live_report.h"
#include "apps/sculpt_run/phase_display.h"
#include "apps/sculpt_run/preflight.h"
#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/setup.h"
#include "apps/sculpt_run/show.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_run/unused_settings.h"
#include "engine/config/config.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/dist/place.h"
#include "engine/dist/shards.h"
#include "engine/run/run_store.h"
#include "engine/run/stored_config.h"
#include "engine/train/agreement.h"
#include "engine/train/run_optimizer.h"
#include "kernels/device/conv_library.h"

namespace sculpt {
namespace {

/// Reads the data of a run once for all logical ranks of a process.
class SharedData {
 public:
  RunData load(const RunOptions& options) {
    const std::lock_guard lock(mutex_);
    if (!data_) data_ = load_run_data(options);
    return *data_;
  }

 private:
  std::mutex mutex_;
  std::optional<RunData> data_;
};

void replay_kernel_choices(const Request& request, const kernels::Device& device) {
  if (device.chooser == nullptr || request.kernel_choices_file.empty()) return;
  device.chooser->recall(request.kernel_choices);
  say("using the choices of kernels recorded in {}\n", request.kernel_choices_file.string());
}

std::string recorded_environment(const RunFolder& folder) {
  return std::filesystem::exists(folder.environment()) ? read_text(folder.environment()) : "";
}

/// Returns true if the run has timed kernels before, but kernel_choices.json is missing. On a CPU,
/// kernels are timed from the first prune on.
bool choices_are_missing(const Request& request) {
  const RunFolder& folder = request.folder;
  const bool on_cpu = request.options.train.execution.sparse == "tuned";
  return !std::filesystem::exists(folder.kernel_choices()) && folder.has_checkpoints() &&
         (!on_cpu || std::filesystem::exists(folder.layers()));
}

void warn_about_environment(const Request& request, const RunIdentity& identity,
                            const kernels::Device& device) {
  const RunFolder& folder = request.folder;
  std::vector<std::string> changes;
  // A run that was killed before its first state may lack the file, and nothing was computed then.
  if (std::filesystem::exists(folder.environment()) || folder.has_checkpoints())
    changes = changes_of_environment(recorded_environment(folder), identity);
  if (device.chooser != nullptr) {
    if (choices_are_missing(request))
      changes.push_back(fmt::format(
          "{} is missing: kernels are timed again, and the choices can be others than at the start",
          folder.kernel_choices().string()));
    const std::string change = change_of_choices(request.kernel_choices, device.chooser->made());
    if (!change.empty()) changes.push_back(change);
  }
  for (const std::string& change : changes)
    warn(change + ": the result can differ in the last bits from that of an uninterrupted run");
}

/// Call this after the network has been made, because then all plans of the library exist.
void warn_about_fallbacks(const kernels::Device& device) {
  if (device.chooser == nullptr) return;
  const std::string fallbacks = kernels::describe_fallbacks(*device.chooser);
  if (!fallbacks.empty()) warn(fallbacks);
}

/// Makes the network and checks it and the data before anything is written. Errors are usage
/// errors, because nothing has been changed.
std::unique_ptr<Experiment> checked_experiment(const Request& request,
                                               const kernels::Device& device, SharedData& data,
                                               Communicator& ranks) try {
  auto experiment =
      std::make_unique<Experiment>(request.options, device, data.load(request.options), ranks);
  if (!resumes(request.start)) require_start(request, experiment->network());
  require_plan_files(request, experiment->network());
  const std::vector<std::string> warnings = check_before_run(request, *experiment, true);
  for (const std::string& text : warning_of(unused_settings(request.options, request.plan)))
    warn(text);
  for (const std::string& text : warnings)
    warn(text);
  return experiment;
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Writes the summary.json of a finished run again if it was lost.
void restore_lost_summary(RunStore& store) {
  if (std::filesystem::exists(store.folder().summary())) return;
  store.restore_summary();
  warn(fmt::format("{} was missing; it is written again from {}", store.folder().summary().string(),
                   store.folder().end_state().string()));
}

/// A damaged result is an error of the run folder that is given, because nothing has been changed.
RunSummary checked_result(const RunStore& store) try {
  return store.check_result();
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Prints the result of a finished run after checking that it is complete.
int show_finished(const Request& request, RunStore& store, RunLock& lock) {
  restore_lost_summary(store);
  lock.require_held();
  const std::string problem = problem_of_environment(recorded_environment(store.folder()));
  if (!problem.empty())
    warn(fmt::format("{} {}; the result does not depend on it",
                     store.folder().environment().string(), problem));
  const RunSummary summary = checked_result(store);
  say("the run has finished\n");
  show_result(store.folder(), summary);
  LiveReport report(store.folder(), summary.epochs);
  if (request.report && report.is_behind_result()) report.finish();
  return kExitOk;
}

/// Makes the run folder ready for the trainer.
void prepare_folder(const Request& request, RunStore& store, Network& network) {
  const RunFolder& folder = request.folder;
  if (request.start == Start::restart)
    say("starting over; the old run is kept in {}\n",
        restart(folder, request.config_toml).string());
  if (request.start == Start::extend) {
    RunStore finished(folder, request.extended_hash, request.lock.get());
    restore_lost_summary(finished);
    // The state that is written must hold the arrays of the optimizer, which are added here.
    make_run_optimizer(make_optimizer, network.parameters(), request.options.train.optim,
                       request.plan);
    say("extending the finished run; its results are kept in {}\n",
        store.extend(network.parameters(), request.extended_hash, request.config_toml).string());
  }
  folder.prepare(request.config_toml);
}

/// Returns the settings on which the result depends, a line each.
std::string settings_of(RunOptions options) {
  std::string text;
  for (const auto& [key, value] : flatten_config(write_config(options.sections()), "config"))
    if (!keys_without_effect().contains(key)) text += fmt::format("{} = {}\n", key, value);
  return text;
}

/// Returns " (optim.lr = 0.2 instead of optim.lr = 0.1)" for the first line that differs.
std::string first_difference(const std::string& of_rank, const std::string& of_root) {
  std::istringstream lines(of_rank), of_root_lines(of_root);
  std::string line, expected;
  while (std::getline(lines, line) && std::getline(of_root_lines, expected))
    if (line != expected) return fmt::format(" ({} instead of {})", line, expected);
  return "";
}

/// Throws UsageError that names a rank if the ranks would not run the same experiment.
void require_same_experiment(Communicator& ranks, const Request& request,
                             const RunIdentity& identity) {
  const std::vector<std::pair<const char*, std::string>> parts = {
      {"the config", settings_of(request.options)},
      {"the data set", identity.inputs.data},
      {"the program", build_of_program()},
      {"the backend", identity.backend}};
  for (const auto& [name, text] : parts) {
    const std::vector<std::string> texts = ranks.all_gather(text);
    for (size_t rank = 1; rank < texts.size(); ++rank)
      if (texts[rank] != texts[0])
        throw UsageError(fmt::format(
            "{} of {}{} is not that of rank 0{}; all ranks must have the same files, program and "
            "kind of processor (SCULPT_CPU_ISA=avx2 makes different processors alike)",
            name, request.options.dist.exact() ? "logical " : "",
            name_of(static_cast<int>(rank), ranks.places()),
            first_difference(texts[rank], texts[0])));
  }
}

/// Makes all ranks choose the kernels that rank 0 chooses.
void choose_alike(Communicator& ranks, kernels::Chooser& chooser) {
  chooser.follow(ranks.is_root(), [&ranks](kernels::Choice choice) {
    ranks.broadcast(std::as_writable_bytes(std::span(&choice, 1)));
    return choice;
  });
}

/// Shows how a run has ended, and returns the exit code.
int show_outcome(const Request& request, const RunStore& store, const Trainer& trainer,
                 RunOutcome outcome) {
  if (outcome == RunOutcome::finished) {
    show_result(request.folder, store.check_result());
    return kExitOk;
  }
  if (trainer.state().saves > 0)
    say("interrupted; the run is saved in {}; go on with --resume\n",
        request.folder.root().string());
  else
    say("interrupted before anything was computed; start again with --resume\n");
  return kExitInterrupted;
}

/// Makes the run folder ready for the run, and writes into it where the run runs. Rank 0 alone
/// calls it.
void begin_in_folder(const Request& request, RunStore& store, Experiment& experiment,
                     const kernels::Device& device, RunIdentity& identity) {
  const RunFolder& folder = request.folder;
  const bool resume = resumes(request.start);
  if (resume) {
    follow_recorded_inputs(folder, identity.inputs);
    warn_about_environment(request, identity, device);
  }
  store.set_inputs(identity.inputs);
  request.lock->require_held();
  // Nothing was computed before the first state, so that the run starts on this machine.
  const std::string environment =
      resume && folder.has_checkpoints()
          ? environment_of_resumed(recorded_environment(folder), identity)
          : environment_json(identity);
  prepare_folder(request, store, experiment.network());
  write_file(folder.environment(), environment);
}

/// Starts or resumes the run and trains to its end, or until it is interrupted.
RunOutcome run_trainer(Trainer& trainer, bool resume) try {
  std::vector<std::string> warnings;
  if (resume)
    trainer.resume(warnings);
  else
    trainer.start();
  for (const std::string& text : warnings)
    warn(text);
  if (trainer.state().steps > 0)
    say("going on after epoch {}, step {}\n", trainer.state().epochs, trainer.state().epoch_step);
  return trainer.run();
} catch (const std::exception& error) {
  if (GpuRanks* const gpus = GpuRanks::of_process()) gpus->abandon(failure_text(error));
  throw;
}

/// Shows the progress of a run on the terminal and in the page of its folder.
class ShownProgress : public Progress {
 public:
  ShownProgress(const Request& request, int64_t steps_per_epoch, const std::string& measured_on)
      : Progress(request.plan, steps_per_epoch, measured_on) {
    if (request.report) report_.emplace(request.folder, total_epochs(request.plan));
  }

  void on_epoch(const EpochMetrics& metrics) override {
    Progress::on_epoch(metrics);
    if (report_) report_->refresh();
  }

  void end() {
    close();
    page_is_written_ = report_ && report_->finish();
  }
  void end_after_failure() {
    close();
    if (report_) report_->finish(/*warns=*/false);
  }
  bool page_is_written() const { return page_is_written_; }

 private:
  std::optional<LiveReport> report_;
  bool page_is_written_ = false;
};

/// Trains, and leaves the page of the run as the run has ended. `progress` is null on other ranks
/// than rank 0.
RunOutcome train_and_report(Trainer& trainer, bool resume, ShownProgress* progress) try {
  const RunOutcome outcome = run_trainer(trainer, resume);
  if (progress != nullptr) progress->end();
  return outcome;
} catch (const std::exception&) {
  if (progress != nullptr) progress->end_after_failure();
  throw;
}

/// Runs a request on this rank.
int run(const Request& request, const kernels::Device& device, SharedData& data,
        Communicator& ranks) {
  const bool root = ranks.is_root();
  RunLock* const lock = request.lock.get();  // null on other ranks
  RunStore store(request.folder, request.config_hash, lock);
  if (!root) store.write_nothing();
  if (request.start == Start::show_result)
    return root ? show_finished(request, store, *lock) : kExitOk;
  if (root)
    if (const auto& dead = lock->previous_holder())
      say("process {} on {} has died without releasing the run folder; this process takes the "
          "folder over\n",
          dead->pid, dead->host);
  require_images_for_all(request.options, ranks.size());
  if (device.chooser != nullptr) choose_alike(ranks, *device.chooser);
  replay_kernel_choices(request, device);
  const auto made = checked_experiment(request, device, data, ranks);
  Experiment& experiment = *made;
  warn_about_fallbacks(device);
  RunIdentity identity = experiment.identity();
  identity.ranks = ranks.size();
  if (const GpuRanks* const gpus = GpuRanks::of_process())
    identity.libraries += (identity.libraries.empty() ? "" : ", ") + gpus->description();
  else
    identity.rank_library = ranks.library();
  add_files(request, identity.inputs);
  require_same_experiment(ranks, request, identity);
  if (root) begin_in_folder(request, store, experiment, device, identity);

  RunObserver silent;
  std::optional<ShownProgress> progress;
  if (root) progress.emplace(request, experiment.train().steps_per_epoch(), identity.evaluated_on);
  Trainer trainer(
      {.network = experiment.network(),
       .backend = experiment.backend(),
       .train = experiment.train(),
       .test = experiment.test(),
       .score_batch = [&](int64_t i) { return experiment.score_batch(i); },
       .store = store,
       .observer = progress ? *progress : silent,
       .stop =
           [&] {
             if (root) lock->require_not_lost();
             return any_rank(ranks, interrupted());
           },
       .chooser = device.chooser,
       .statistics_images =
           [&](int64_t first, int64_t count) { return experiment.statistics_images(first, count); },
       .load_initial = [&](ParameterArena& parameters) { load_initial(request, parameters); },
       .stored_network = [&](const Intervention& step) -> const StoredNetwork& {
         return request.files->of(step);
       },
       .ranks = ranks},
      {.plan = request.plan,
       .train = request.options.train,
       .prune = request.options.prune,
       .masks = request.options.masks,
       .identity = identity,
       .profiled_steps = request.profiled_steps});
  const RunOutcome outcome =
      train_and_report(trainer, resumes(request.start), progress ? &*progress : nullptr);
  if (!root) return kExitOk;
  const int code = show_outcome(request, store, trainer, outcome);
  if (progress->page_is_written()) say("report {}\n", request.folder.report().string());
  return code;
}

/// Makes the request of this rank. Rank 0 decides how the folder is used before the others read
/// anything in it.
Request request_of_rank(const CommandLine& line, Communicator& ranks) {
  if (ranks.size() == 1) return make_request(line);
  if (ranks.is_root()) {
    Request request = make_request(line);
    ranks.all_gather(
        fmt::format("{} {}", static_cast<int>(request.start), request.folder.root().string()));
    return request;
  }
  const std::string decided = ranks.all_gather("").front();
  const size_t space = decided.find(' ');
  return make_request(
      line, {static_cast<Start>(std::stoi(decided.substr(0, space))), decided.substr(space + 1)});
}

int train_on_rank(const CommandLine& line, Communicator& ranks, SharedData& data) {
  const Request request = request_of_rank(line, ranks);
  if (line.resume && request.start == Start::fresh)
    say("there is no run in {} yet; starting one\n", request.folder.root().string());
  prepare_process(request, ranks);
  const kernels::Device device = open(request, ranks);
  if (request.options.dist.exact() && device.backend->memory != nullptr)
    throw UsageError(
        "dist.reduction = exact runs on the CPU only; give --device cpu, or set "
        "dist.reduction=fast");
  say_device(device);
  // Everything that run() makes, recordings of steps among it, is gone before the GPUs disconnect.
  const std::unique_ptr<GpuRanks> gpus = connect_gpus(request, device, ranks);
  if (gpus) say("{}\n", gpus->description());
  const int code = run(request, device, data, ranks);
  if (gpus) gpus->close();
  return code;
}

/// Returns the logical ranks of dist.reduction = exact. Returns null if each process is one rank.
std::unique_ptr<ShardGroup> logical_ranks(const DistOptions& dist, Communicator& processes) {
  if (!dist.exact()) return nullptr;
  require_logical_ranks(dist, processes.size());
  return std::make_unique<ShardGroup>(processes, static_cast<int>(dist.logical_ranks));
}

}  // namespace

int train(const CommandLine& line, Communicator& processes) {
  const DistOptions dist = dist_options(line);
  const auto logical = logical_ranks(dist, processes);
  // Several ranks end together, between two steps.
  const PhaseDisplay display(/*ends_phases=*/processes.size() == 1 && logical == nullptr);
  SharedData data;
  if (logical == nullptr) return train_on_rank(line, processes, data);
  int code = kExitOk;
  logical->run([&](Communicator& rank) {
    const QuietThread quiet(!rank.is_root());
    const int of_rank = train_on_rank(line, rank, data);
    if (rank.is_root()) code = of_rank;
  });
  return code;
}

}  // namespace sculpt
