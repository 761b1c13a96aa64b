#include "apps/sculpt_bench/serve.h"

#include <chrono>
#include <fmt/format.h>
#include <iostream>
#include <string>

#include "apps/sculpt_bench/masks.h"
#include "engine/core/error.h"
#include "engine/core/memory_use.h"

namespace sculpt::bench {
namespace {

void say(const std::string& line) {
  std::cout << line << std::endl;  // flushes, because the other process waits for it
}

}  // namespace

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

}  // namespace sculpt::bench
