// sculpt_bench: times training steps. `profile` prints where a step's time goes on the CPU;
// `kernels` times each kernel by itself, on any device; `sparse` compares steps of masked networks
// on kernels that skip masked weights and on dense ones; `serve` runs steps on request, so that
// tools/bench_pytorch.py can alternate them with another engine's in one run.

#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <iostream>
#include <string>

#include "apps/sculpt_bench/kernel_times.h"
#include "apps/sculpt_bench/profile.h"
#include "apps/sculpt_bench/sparse_step.h"
#include "apps/sculpt_bench/training_step.h"
#include "engine/core/error.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {
namespace {

void say(const std::string& line) {
  std::cout << line << std::endl;  // flushed: the other side waits for it
}

// Protocol: a line of JSON when ready and after each `run K`; `quit` or end of input ends.
void serve(TrainingStep& step, int64_t batch) {
  const bool on_device = step.network().graph().backend().memory != nullptr;
  step.run();
  say("{\"ready\": true}");
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
                    steps * batch, on_device ? peak_device_bytes() : peak_host_bytes()));
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Times training steps of Sculpt's networks"};
  app.require_subcommand(1);
  app.fallthrough();
  StepOptions options;
  int threads = 0, steps = 20;
  app.add_option("--model", options.model, "a model of sculpt_run")->capture_default_str();
  app.add_option("--width", options.width, "channel multiplier")->capture_default_str();
  app.add_option("--batch", options.batch, "images per step")->capture_default_str();
  app.add_option("--image-size", options.image_size, "height and width")->capture_default_str();
  app.add_option("--threads", threads, "0: all cores")->capture_default_str();
  app.add_option("--device", options.device, "as in sculpt_run")->capture_default_str();
  app.add_option("--precision", options.precision, "auto, fp32, tf32 or bf16")
      ->capture_default_str();
  app.add_option("--conv", options.conv, "native, cudnn or auto")->capture_default_str();
  double sparsity = 0;
  app.add_option("--sparsity", sparsity,
                 "share of each layer's weights that is masked at random; `sparse` has its own")
      ->capture_default_str();
  auto* profile =
      app.add_subcommand("profile", "per-op and per-layer times, against the machine's");
  profile->add_option("--steps", steps, "steps to average over")->capture_default_str();
  double least_seconds = 0.05;
  auto* each = app.add_subcommand("kernels", "each kernel by itself, against copying and products");
  each->add_option("--seconds", least_seconds, "shortest time that calls of one are repeated for")
      ->capture_default_str();
  int rounds = 5;
  double block_seconds = 1;
  auto* sparse = app.add_subcommand(
      "sparse", "steps of masked networks, on kernels that skip masked weights and on dense ones");
  sparse->add_option("--rounds", rounds, "blocks of each, in turn")->capture_default_str();
  sparse->add_option("--seconds", block_seconds, "least length of a block")->capture_default_str();
  auto* server = app.add_subcommand("serve", "run steps on request, for alternating benchmarks");
  CLI11_PARSE(app, argc, argv);

  if (threads > 0) set_thread_count(threads);
  if (*sparse) {
    print_sparse_steps(options, rounds, block_seconds);
    return 0;
  }
  TrainingStep step(options);
  if (*profile && step.network().graph().backend().memory)
    fail("profile times the CPU; for a GPU see docs/profiling.md");
  mask_at_random(step, sparsity);
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
    fmt::print(stderr, "sculpt_bench: error: {}\n", e.what());
    return 1;
  }
}
