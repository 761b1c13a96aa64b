// sculpt_run: trains a network by a plan of prune, rewind and train steps that a config decides.

#include <cstdio>
#include <exception>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/environment.h"
#include "apps/sculpt_run/experiment.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/show.h"
#include "engine/core/error.h"
#include "engine/train/interrupt.h"
#include "engine/train/progress.h"
#include "kernels/common/parallel.h"
#include "kernels/conv_library.h"

namespace sculpt {
namespace {

void warn(const std::string& text) {
  fmt::print(stderr, "warning: {}\n", text);
}

void replay_kernel_choices(const Request& request, const kernels::Device& device) {
  if (device.chooser == nullptr || request.kernel_choices_file.empty()) return;
  device.chooser->recall(request.kernel_choices);
  fmt::print("kernels as recorded in {}\n", request.kernel_choices_file.string());
}

void warn_about_environment(const Request& request, const RunIdentity& identity,
                            const kernels::Device& device) {
  const std::filesystem::path path = request.folder.environment();
  if (!std::filesystem::exists(path)) return;
  std::vector<std::string> changes = changes_of_environment(read_text(path), identity);
  if (device.chooser != nullptr) {
    const std::string change = change_of_choices(request.kernel_choices, device.chooser->made());
    if (!change.empty()) changes.push_back(change);
  }
  for (const std::string& change : changes)
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
  kernels::Device device = kernels::open_device(line.device, train.precision, train.conv, warn);
  if (train.sparse == "tuned") kernels::time_sparse_kernels(device, warn);
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

int run(const Request& request, const kernels::Device& device, bool resume) {
  const RunFolder& folder = request.folder;
  if (resume && folder.finished()) {
    fmt::print("the run has finished\n");
    show_result(folder);
    return kExitOk;
  }
  replay_kernel_choices(request, device);
  Experiment experiment(request.options, device);
  warn_about_fallbacks(device);
  const RunIdentity identity = experiment.identity();
  if (resume) warn_about_environment(request, identity, device);
  folder.prepare(request.config_toml);
  write_file(folder.environment(), environment_json(identity));

  RunStore store(folder, request.config_hash);
  Progress progress(request.plan, experiment.train().steps_per_epoch());
  Trainer trainer(
      {experiment.network(), experiment.backend(), experiment.train(), experiment.test(),
       [&](int64_t i) { return experiment.score_batch(i); }, store, progress, interrupted,
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
  show_result(folder);
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
  return run(request, device, line.resume);
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
