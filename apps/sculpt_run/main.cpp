// sculpt_run trains a network by the plan of prune, rewind and train steps that a config defines.

#include <cerrno>
#include <cstring>
#include <exception>

#include "apps/common/failure_text.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/environment.h"
#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/inputs.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/launcher.h"
#include "apps/sculpt_run/phase_display.h"
#include "apps/sculpt_run/preflight.h"
#include "apps/sculpt_run/processors.h"
#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/show.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_run/version.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/phase.h"
#include "engine/dist/mpi.h"
#include "engine/dist/place.h"
#include "engine/run/run_store.h"
#include "engine/train/execution_of_options.h"
#include "kernels/common/parallel.h"
#include "kernels/device/conv_library.h"

namespace sculpt {
namespace {

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

/// Opens the device. An error names the setting and its place.
kernels::Device open_device(const Request& request) try {
  const ExecutionOptions& options = request.options.train.execution;
  const Execution execution = execution_of(options);
  return kernels::open_device(options.device, execution.precision, execution.conv, warn);
} catch (const Error& error) {
  const std::string text = error.what();
  for (const char* key : {"execution.precision", "execution.conv", "execution.device"}) {
    const bool named = text.starts_with(key);
    const auto place = request.places.find(key);
    if (place == request.places.end() || (!named && key != std::string_view("execution.device")))
      continue;
    const bool needs_key = !named && !place->second.starts_with("--");
    fail("{}: {}{}", place->second, needs_key ? std::string(key) + ": " : "", text);
  }
  throw;
}

/// A device that is not available is an error of the arguments.
kernels::Device open(const Request& request) try {
  const ExecutionOptions& options = request.options.train.execution;
  const Execution execution = execution_of(options);
  kernels::Device device = open_device(request);
  if (execution.layers.sparse == SparseKernels::tuned) kernels::time_sparse_kernels(device, warn);
  if (request.profiled_steps && !device.backend->trace.start_recording)
    fail("--profile needs a GPU; on the CPU `sculpt_bench profile` times the ops of a step");
  return device;
} catch (const Error& error) {
  throw UsageError(error.what());
}

void say_device(const kernels::Device& device) {
  say("device {} ({}{}{}{}{}){}{}\n", device.name, device.backend->name,
      device.description.empty() ? "" : ", ", device.description,
      device.libraries.empty() ? "" : ", ", device.libraries, device.reason.empty() ? "" : ": ",
      device.reason);
}

/// Reads the data, makes the network, and checks both before anything is written. Their errors are
/// usage errors, because nothing has been changed.
std::unique_ptr<Experiment> checked_experiment(const Request& request,
                                               const kernels::Device& device) try {
  auto experiment =
      std::make_unique<Experiment>(request.options, device, load_run_data(request.options));
  if (!resumes(request.start)) require_start(request, experiment->network());
  for (const std::string& text : check_before_run(request, *experiment, true))
    warn(text);
  return experiment;
} catch (const Error& error) {
  throw UsageError(error.what());
}

void show_planned(const Request& request, const kernels::Device& device, const CommandLine& line) {
  const PlannedExperiment planned = [&] {
    try {
      PlannedExperiment made = experiment_for_plan(request, device);
      if (line.plan) {
        require_start(request, made.experiment->network());
        for (const auto& text : check_before_run(request, *made.experiment, made.labels_known))
          warn(text);
      }
      return made;
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }();
  if (line.describe) show_network(*planned.experiment, request.options);
  if (!line.plan) return;
  show_plan(*planned.experiment, request.options, request.plan);
  say("{}", planned.note);
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
int show_finished(RunStore& store, RunLock& lock) {
  restore_lost_summary(store);
  lock.require_held();
  const std::string problem = problem_of_environment(recorded_environment(store.folder()));
  if (!problem.empty())
    warn(fmt::format("{} {}; the result does not depend on it",
                     store.folder().environment().string(), problem));
  const RunSummary summary = checked_result(store);
  say("the run has finished\n");
  show_result(store.folder(), summary);
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
    say("extending the finished run; its results are kept in {}\n",
        store.extend(network.parameters(), request.extended_hash, request.config_toml).string());
  }
  folder.prepare(request.config_toml);
}

int run(const Request& request, const kernels::Device& device) {
  const RunFolder& folder = request.folder;
  RunLock& lock = *request.lock;
  RunStore store(folder, request.config_hash, &lock);
  if (request.start == Start::show_result) return show_finished(store, lock);
  if (const auto& dead = lock.previous_holder())
    say("process {} on {} has died without releasing the run folder; this process takes the folder "
        "over\n",
        dead->pid, dead->host);
  const bool resume = resumes(request.start);
  replay_kernel_choices(request, device);
  const auto made = checked_experiment(request, device);
  Experiment& experiment = *made;
  warn_about_fallbacks(device);
  RunIdentity identity = experiment.identity();
  add_initial(request, identity.inputs);
  if (resume) {
    follow_recorded_inputs(folder, identity.inputs);
    warn_about_environment(request, identity, device);
  }
  // Nothing was computed before the first state, so that the run starts on this machine.
  const std::string environment =
      resume && folder.has_checkpoints()
          ? environment_of_resumed(recorded_environment(folder), identity)
          : environment_json(identity);
  store.set_inputs(identity.inputs);
  lock.require_held();
  prepare_folder(request, store, experiment.network());
  write_file(folder.environment(), environment);

  Progress progress(request.plan, experiment.train().steps_per_epoch(), identity.evaluated_on);
  Trainer trainer(
      {.network = experiment.network(),
       .backend = experiment.backend(),
       .train = experiment.train(),
       .test = experiment.test(),
       .score_batch = [&](int64_t i) { return experiment.score_batch(i); },
       .store = store,
       .observer = progress,
       .stop =
           [&] {
             lock.require_not_lost();
             return interrupted();
           },
       .chooser = device.chooser,
       .statistics_images =
           [&](int64_t first, int64_t count) { return experiment.statistics_images(first, count); },
       .load_initial = [&](ParameterArena& parameters) { load_initial(request, parameters); }},
      {.plan = request.plan,
       .train = request.options.train,
       .prune = request.options.prune,
       .identity = identity,
       .profiled_steps = request.profiled_steps});
  std::vector<std::string> warnings;
  if (resume)
    trainer.resume(warnings);
  else
    trainer.start();
  for (const std::string& text : warnings)
    warn(text);
  if (trainer.state().steps > 0)
    say("going on after epoch {}, step {}\n", trainer.state().epochs, trainer.state().epoch_step);

  if (trainer.run() == RunOutcome::interrupted) {
    progress.close();
    if (trainer.state().saves > 0)
      say("interrupted; the run is saved in {}; go on with --resume\n", folder.root().string());
    else
      say("interrupted before anything was computed; start again with --resume\n");
    return kExitInterrupted;
  }
  progress.close();
  show_result(folder, store.check_result());
  return kExitOk;
}

/// Sets the number of threads, and says what a person should know about the config.
void prepare_process(const Request& request) {
  if (!request.old_names_note.empty()) note(request.old_names_note);
  const auto threads = static_cast<int>(request.options.train.execution.threads);
  if (threads > 0) set_thread_count(threads);
  const std::string problem = too_many_threads(thread_count(), available_processors());
  if (!problem.empty()) warn(problem);
}

/// Does what --help-config, --plan, --describe and --version ask for, which is only to print.
void show(const CommandLine& line) {
  if (line.version) return out().print(version_text());
  if (!line.help_config.empty()) {
    RunOptions defaults;
    const bool markdown = line.help_config == "markdown";
    return out().print(markdown
                           ? config_page()
                           : wrap(describe_config_text(defaults.sections()), out().width(), 2));
  }
  const Request request = make_request(line);
  prepare_process(request);
  const kernels::Device device = open(request);
  show_planned(request, device, line);
}

/// A run goes on without a standard output, because its records are in its folder. A command that
/// only prints fails.
int exit_code(int code, bool only_prints) {
  const int problem = out().error();
  if (problem == 0 || (!only_prints && problem == EPIPE)) return code;
  const std::string text =
      fmt::format("cannot write to standard output: {}", std::strerror(problem));
  if (!only_prints) {
    warn(text + "; the run's records are in its folder");
    return code;
  }
  say_error(text);
  return kExitFailed;
}

int run_on_one_rank(const CommandLine& line) {
  const PhaseDisplay display;
  try {
    const Request request = make_request(line);
    if (line.resume && request.start == Start::fresh)
      say("there is no run in {} yet; starting one\n", request.folder.root().string());
    prepare_process(request);
    const kernels::Device device = open(request);
    say_device(device);
    return exit_code(run(request, device), false);
  } catch (const Interrupted&) {
    say("interrupted before anything was computed; the same command starts again\n");
    return kExitInterrupted;
  }
}

/// The exit code and the message of a program that `error` ends.
std::pair<int, std::string> failure(const std::exception& error) {
  const bool usage = dynamic_cast<const UsageError*>(&error) != nullptr ||
                     dynamic_cast<const OtherInputs*>(&error) != nullptr;
  return {usage ? kExitUsage : kExitFailed, failure_text(error)};
}

std::unique_ptr<Communicator> open_ranks(const CommandLine& line, const Launch& launch) try {
  return open_communicator(launch, dist_options(line));
} catch (const Error& error) {
  throw UsageError(error.what());
}

void require_one_rank(const Communicator& ranks) {
  if (ranks.size() > 1)
    throw UsageError("training on several ranks is not part of this program yet; use one rank");
}

/// Runs the command on this rank of a job. The ranks end together.
int run_on_ranks(const CommandLine& line, const Launch& launch) {
  const std::unique_ptr<Communicator> ranks = open_ranks(line, launch);
  try {
    say("{}\n", ranks->description());
    require_one_rank(*ranks);
    const int code = run_on_one_rank(line);
    ranks->finish();
    // A launcher ends all ranks as soon as one of them fails, so only rank 0 does.
    return ranks->is_root() ? code : kExitOk;
  } catch (const std::exception& error) {
    const auto [code, text] = failure(error);
    ranks->abort(code, text);
    return code;  // is not reached, but g++ does not believe a virtual function that it ends
  }
}

Launch this_launch() try { return find_launch(process_environment()); } catch (const Error& error) {
  throw UsageError(error.what());
}

void require_ranks(const Launch& launch, int wanted) try {
  require_size(launch, wanted);
} catch (const Error& error) {
  throw UsageError(error.what());
}

int main_checked(int argc, char** argv) {
  const Launch launch = this_launch();
  if (launch.size > 1) speak_as_rank(launch.rank, name_of(launch.rank, this_place()));
  CommandLine line;
  if (const auto code = parse_command_line(argc, argv, line)) return exit_code(*code, true);
  const bool only_prints = line.version || !line.help_config.empty() || line.plan || line.describe;
  if (only_prints) {
    if (launch.rank == 0) show(line);
    return exit_code(kExitOk, true);
  }
  if (line.ranks > 0) require_ranks(launch, line.ranks);
  if (line.ranks > 1 && launch.launcher.empty()) return run_ranks(argc, argv, line.ranks);
  catch_interrupts(launch.rank > 0);
  return launch.size > 1 ? run_on_ranks(line, launch) : run_on_one_rank(line);
}

}  // namespace
}  // namespace sculpt

int main(int argc, char** argv) {
  try {
    return sculpt::main_checked(argc, argv);
  } catch (const std::exception& error) {
    const auto [code, text] = sculpt::failure(error);
    sculpt::say_error(text);
    return code;
  }
}
