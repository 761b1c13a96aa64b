// sculpt_bench times training steps. `profile` prints how a step's time divides on the CPU;
// `kernels` times each kernel separately, on any device; `floors` prints what the kernels of a GPU
// must move and compute; `sparse` compares steps of masked networks on kernels that skip masked
// weights and on dense kernels; `choices` compares kernels chosen by timing and by the rule; `rule`
// measures the densities behind the rule; `conv` compares Winograd convolutions with direct ones;
// `serve` runs steps on request, so that tools/bench_pytorch.py and tools/bench_sparse.py can
// alternate them with steps of other engines.

#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <iostream>
#include <map>
#include <string>

#include "apps/common/failure_text.h"
#include "apps/common/option_errors.h"
#include "apps/sculpt_bench/break_even.h"
#include "apps/sculpt_bench/choices.h"
#include "apps/sculpt_bench/conv_layers.h"
#include "apps/sculpt_bench/floors.h"
#include "apps/sculpt_bench/kernel_times.h"
#include "apps/sculpt_bench/profile.h"
#include "apps/sculpt_bench/sparse_step.h"
#include "apps/sculpt_bench/training_step.h"
#include "engine/core/error.h"
#include "engine/core/memory_use.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {
namespace {

void say(const std::string& line) {
  std::cout << line << std::endl;  // flushes, because the other process waits for it
}

// Protocol: the program writes a line of JSON when it is ready and after each `run K`; `quit` or
// the end of the input ends it.
void serve(TrainingStep& step, int64_t batch) {
  const bool on_device = step.network().graph().backend().memory != nullptr;
  step.run();
  say(fmt::format("{{\"ready\": true, \"sparsity\": {}}}",
                  sparsity_of(step.network().parameters()).all));
  for (std::string command; std::cin >> command && command != "quit";) {
    int steps = 0;
    if (command != "run" || !(std::cin >> steps) || steps < 1)
      fail("serve: expected 'run K' or 'quit', got '{}'", command);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i)
      step.run();
    step.finish();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    say(fmt::format("{{\"seconds\": {}, \"images\": {}, \"peak_memory_bytes\": {}}}", seconds,
                    steps * batch, on_device ? peak_device_bytes() : peak_memory_bytes()));
  }
}

std::map<std::string, SparseKernels> sparse_kernels_by_name() {
  return {{"auto", SparseKernels::automatic},
          {"tuned", SparseKernels::tuned},
          {"on", SparseKernels::on},
          {"off", SparseKernels::off}};
}

/// Replaces CLI::PositiveNumber, whose message prints the largest double with all of its digits.
CLI::Validator above_zero() {
  return {[](std::string& text) {
            double value = 0;
            const bool good = CLI::detail::lexical_cast(text, value) && value > 0;
            return good ? std::string() : fmt::format("{} is not a number above 0", text);
          },
          "POSITIVE"};
}

int run(int argc, char** argv) {
  CLI::App app{"Times training steps of Sculpt's networks"};
  app.require_subcommand(1);
  app.fallthrough();
  StepOptions options;
  int threads = 0, steps = 20;
  app.add_option("--model", options.model, "a model of sculpt_run")->capture_default_str();
  app.add_option("--width", options.width, "channel multiplier")
      ->check(above_zero())
      ->capture_default_str();
  app.add_option("--batch", options.batch, "images per step")
      ->check(above_zero())
      ->capture_default_str();
  app.add_option("--image-size", options.image_size, "height and width of an image, in pixels")
      ->check(above_zero())
      ->capture_default_str();
  app.add_option("--threads", threads, "number of threads; 0: one per core")->capture_default_str();
  app.add_option("--device", options.device, "same values as sculpt_run's --device")
      ->capture_default_str();
  app.add_option("--precision", options.execution.precision, "auto, fp32, tf32 or bf16")
      ->capture_default_str();
  app.add_option("--conv", options.execution.conv, "native, cudnn or auto")->capture_default_str();
  std::map<std::string, bool> switches = {{"auto", true}, {"off", false}};
  app.add_option("--winograd", options.execution.layers.winograd,
                 "auto or off, same as execution.winograd")
      ->transform(CLI::CheckedTransformer(switches))
      ->default_str("auto");
  auto* profile = app.add_subcommand(
      "profile", "times per op and per layer, compared with the rates of this machine");
  profile->add_option("--steps", steps, "steps to average over")->capture_default_str();
  double least_seconds = 0.05;
  auto* each = app.add_subcommand(
      "kernels",
      "times of each kernel separately, compared with the rates of copying and matrix products");
  each->add_option("--seconds", least_seconds,
                   "least seconds for which the calls of a kernel are repeated")
      ->capture_default_str();
  MaskOptions masks;
  app.add_option("--masks", masks.sources,
                 "random, magnitude (global, after some training on the built-in images), or run "
                 "folders and checkpoints, which also decide the model")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--sparsity", masks.sparsities,
                 "fractions that random and magnitude mask; if not given, sparse uses "
                 "0,0.5,0.8,0.9,0.95,0.98,0.99, and serve uses none")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 0.9999));
  app.add_option("--mask-training", masks.training, "steps that magnitude trains for")
      ->capture_default_str();
  app.add_option("--sparse", options.execution.layers.sparse,
                 "same values as execution.sparse: auto, tuned, on or off")
      ->transform(CLI::CheckedTransformer(sparse_kernels_by_name()));
  SparseStepOptions comparison;
  auto* sparse = app.add_subcommand(
      "sparse", "steps of masked networks, on kernels that skip masked weights and on dense ones");
  sparse->add_option("--rounds", comparison.rounds, "blocks of each kind, alternating")
      ->check(above_zero())
      ->capture_default_str();
  sparse->add_option("--seconds", comparison.least_seconds, "least seconds of a block")
      ->capture_default_str();
  sparse->add_flag("--layers", comparison.layers, "also time each convolution and pass separately");
  sparse
      ->add_option("--layer-seconds", comparison.layer_seconds,
                   "least seconds of a block of one layer's pass")
      ->capture_default_str();
  int rounds = 5;
  double block_seconds = 1;
  auto* conv_layers =
      app.add_subcommand("conv", "3x3 convolutions, by Winograd's algorithm and by direct kernels");
  conv_layers->add_option("--rounds", rounds, "blocks of each kind, alternating")
      ->capture_default_str();
  conv_layers->add_option("--seconds", block_seconds, "least seconds of a block")
      ->capture_default_str();
  auto* floors = app.add_subcommand(
      "floors", "bytes and FLOPs of a step's kernels on a GPU, as JSON; needs no GPU");
  int choice_rounds = 9;
  double choice_seconds = 0.5;
  auto* choices = app.add_subcommand(
      "choices", "steps of masked networks, with kernels chosen by timing and by the rule");
  choices->add_option("--rounds", choice_rounds, "blocks of each kind, alternating")
      ->check(above_zero())
      ->capture_default_str();
  choices->add_option("--seconds", choice_seconds, "least seconds of a block")
      ->capture_default_str();
  BreakEvenOptions break_even;
  auto* rule = app.add_subcommand(
      "rule",
      "densities up to which kernels that skip masked weights are faster, by layer and pass");
  rule->add_option("--densities", break_even.densities, "kept fractions that are timed")
      ->delimiter(',')
      ->check(CLI::Range(0.0001, 0.9999));
  rule->add_option("--repeats", break_even.repeats,
                   "timings of each density, of which the shortest counts")
      ->check(above_zero())
      ->capture_default_str();
  auto* server = app.add_subcommand("serve", "run steps on request, for alternating benchmarks");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // the user asked for --help
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "error: {}\n", option_error_line(app, error, "sculpt_bench"));
    return 2;
  }

  if (threads > 0) set_thread_count(threads);
  if (*sparse) {
    if (masks.sparsities.empty()) masks.sparsities = {0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99};
    print_sparse_steps(make_masks(options, masks), comparison);
    return 0;
  }
  if (*choices) {
    if (masks.sparsities.empty()) masks.sparsities = {0.8, 0.9, 0.95, 0.99};
    print_choices(make_masks(options, masks), choice_rounds, choice_seconds);
    return 0;
  }
  if (*rule) {
    print_break_even(options, break_even);
    return 0;
  }
  if (*conv_layers) {
    print_conv_layers(options, rounds, block_seconds);
    return 0;
  }
  if (*floors) {
    print_floors(options);
    return 0;
  }
  const std::vector<MaskedModel> masked = make_masks(options, masks);
  if (masked.size() > 1) fail("give one source of masks and one sparsity, for one network");
  TrainingStep step(masked.empty() ? options : masked.front().step);
  if (!masked.empty()) apply_mask(step.network(), masked.front());
  if (*profile && step.network().graph().backend().memory)
    fail("profile times only the CPU; use --device cpu, or for a GPU see docs/profiling.md");
  if (*profile) print_profile(step, steps);
  if (*each) print_kernel_times(step.network(), least_seconds);
  if (*server) serve(step, options.batch);
  return 0;
}

}  // namespace
}  // namespace sculpt::bench

int main(int argc, char** argv) {
  try {
    return sculpt::bench::run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", sculpt::failure_text(e));
    return 1;
  }
}
