// sculpt_run: trains a network by a plan of prune, rewind and train steps that a config decides.

#include <cstdio>
#include <exception>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/environment.h"
#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/show.h"
#include "engine/core/error.h"
#include "engine/train/files.h"
#include "engine/train/interrupt.h"
#include "engine/train/progress.h"
#include "engine/train/run_store.h"
#include "kernels/common/parallel.h"
#include "kernels/conv_library.h"

namespace sculpt {
namespace {

void warn(const std::string& text) {
  fmt::print(stderr, "warning: {}\n", text);
}

void warn_about_environment(const RunFolder& folder, const RunIdentity& identity) {
  if (!std::filesystem::exists(folder.environment())) return;
  const std::string change = change_of_environment(read_text(folder.environment()), identity);
  if (!change.empty())
    warn(change + ": the result can differ in the last bits from an uninterrupted one");
}

/// Once the network, and with it every plan of the library, has been made.
void warn_about_fallbacks(const kernels::Device& device) {
  if (device.chooser == nullptr) return;
  const std::string fallbacks = kernels::describe_fallbacks(*device.chooser);
  if (!fallbacks.empty()) warn(fallbacks);
}

/// A device that cannot be had is an error of the arguments.
kernels::Device open(const CommandLine& line, const Request& request) try {
  const TrainOptions& train = request.options.train;
  const kernels::Device device =
      kernels::open_device(line.device, train.precision, train.conv, warn);
  if (request.profiled_steps && !device.backend->trace.start_recording)
    fail("--profile needs a GPU; on the CPU `sculpt_bench profile` times the ops of a step");
  return device;
} catch (const Error& error) {
  throw UsageError(error.what());
}

void say_device(const kernels::Device& device) {
  fmt::print("device {} ({}{}{}{}{}){}{}\n", device.name, device.backend->name,
             device.description.empty() ? "" : ", ", device.description,
             device.libraries.empty() ? "" : ", ", device.libraries,
             device.reason.empty() ? "" : ": ", device.reason);
}

/// Prints the result of a finished run, once it has been found to be whole.
int show_finished(RunStore& store, RunLock& lock) {
  if (!std::filesystem::exists(store.folder().summary())) {
    store.restore_summary();
    warn(fmt::format("{} was missing; it is written again from {}",
                     store.folder().summary().string(), store.folder().end_state().string()));
  }
  lock.require_held();
  const RunSummary summary = store.check_result();
  fmt::print("the run has finished\n");
  show_result(store.folder(), summary);
  return kExitOk;
}

/// Makes the run folder ready for the trainer.
void prepare_folder(const Request& request, RunStore& store, Network& network) {
  const RunFolder& folder = request.folder;
  if (request.start == Start::restart)
    fmt::print("starting over; the old run is kept in {}\n",
               restart(folder, request.config_toml).string());
  if (request.start == Start::extend)
    fmt::print(
        "extending the finished run; its results are kept in {}\n",
        store.extend(network.parameters(), request.extended_hash, request.config_toml).string());
  folder.prepare(request.config_toml);
}

int run(const Request& request, const kernels::Device& device) {
  const RunFolder& folder = request.folder;
  RunLock& lock = *request.lock;
  RunStore store(folder, request.config_hash, &lock);
  if (request.start == Start::show_result) return show_finished(store, lock);
  if (const auto& dead = lock.previous_holder())
    fmt::print("process {} on {} has died without giving the run folder back; taking it over\n",
               dead->pid, dead->host);
  const bool resume = request.start == Start::go_on || request.start == Start::extend;
  if (resume && device.chooser != nullptr && std::filesystem::exists(folder.environment()))
    device.chooser->recall(recorded_choices(read_text(folder.environment())));
  Experiment experiment(request.options, device);
  warn_about_fallbacks(device);
  const RunIdentity identity = experiment.identity();
  if (resume) warn_about_environment(folder, identity);
  lock.require_held();
  prepare_folder(request, store, experiment.network());
  write_file(folder.environment(), environment_json(identity));

  Progress progress(request.plan, experiment.train().steps_per_epoch());
  Trainer trainer(
      {experiment.network(), experiment.backend(), experiment.train(), experiment.test(),
       [&](int64_t i) { return experiment.score_batch(i); }, store, progress,
       [&] {
         lock.require_not_lost();
         return interrupted();
       },
       device.chooser,
       [&](int64_t first, int64_t count) { return experiment.statistics_images(first, count); }},
      {request.plan, request.options.train, request.options.prune, identity,
       request.profiled_steps});
  std::vector<std::string> warnings;
  if (resume)
    trainer.resume(warnings);
  else
    trainer.start();
  for (const std::string& text : warnings)
    warn(text);
  if (trainer.state().steps > 0)
    fmt::print("going on after epoch {}, step {}\n", trainer.state().epochs,
               trainer.state().epoch_step);

  if (trainer.run() == RunOutcome::interrupted) {
    progress.close();
    fmt::print("interrupted; {} is saved, go on with --resume\n", folder.root().string());
    return kExitInterrupted;
  }
  progress.close();
  show_result(folder, store.check_result());
  return kExitOk;
}

int main_checked(int argc, char** argv) {
  CommandLine line;
  if (const auto code = parse_command_line(argc, argv, line)) return *code;
  if (!line.help_config.empty()) {
    RunOptions defaults;
    const bool markdown = line.help_config == "markdown";
    fmt::print("{}", markdown ? config_page() : describe_config_text(defaults.sections()));
    return kExitOk;
  }
  const Request request = make_request(line);
  if (line.threads > 0) set_thread_count(line.threads);
  const kernels::Device device = open(line, request);
  if (line.plan || line.describe) {
    Experiment experiment(request.options, device, Experiment::Images::blank);
    if (line.describe) show_network(experiment, request.options);
    if (line.plan) show_plan(experiment, request.options, request.plan);
    return kExitOk;
  }
  catch_interrupts();
  say_device(device);
  return run(request, device);
}

}  // namespace
}  // namespace sculpt

int main(int argc, char** argv) {
  try {
    return sculpt::main_checked(argc, argv);
  } catch (const sculpt::UsageError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return sculpt::kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return sculpt::kExitFailed;
  }
}
