#include "apps/sculpt_bench/machine_rates.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <vector>

#include "apps/sculpt_bench/kernel_times.h"
#include "engine/core/buffer.h"
#include "kernels/common/parallel.h"
#include "kernels/common/stopwatch.h"

namespace sculpt::bench {

namespace {

constexpr double kDeviceSeconds = 0.1;  // the least length of a measurement of another device

template <class Body>
double best_seconds(int repeats, Body body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const double start = working_seconds();
    body();
    best = std::min(best, working_seconds() - start);
  }
  return best;
}

}  // namespace

MachineRates measure_machine() {
  MachineRates rates;
  const int threads = thread_count();
  const auto probe = kernels::cpu_backend().fma_probe;
  double flops = 0;
  const double fma = best_seconds(5, [&] {
    std::vector<double> done(static_cast<size_t>(threads));
    parallel_for(threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        done[static_cast<size_t>(i)] = probe(20'000'000);
    });
    flops = 0;
    for (const double f : done)
      flops += f;
  });
  rates.flops_per_second = flops / fma;

  constexpr int64_t kBytes = int64_t{256} << 20;
  const Buffer from(kBytes, "the copy test");
  Buffer to(kBytes, "the copy test");
  const double copy = best_seconds(5, [&] {
    parallel_for(kBytes, [&](int64_t begin, int64_t end, int) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<size_t>(end - begin));
    });
  });
  rates.bytes_per_second = 2.0 * kBytes / copy;
  return rates;
}

MachineRates measure_device_of(const Network& network) {
  const kernels::Backend& backend = network.graph().backend();
  if (!backend.memory) return measure_machine();
  const BackendRates rates = measure_backend(backend, kDeviceSeconds);
  return {rates.flops_per_second, rates.bytes_per_second};
}

double Floor::seconds() const {
  return std::max(arithmetic_seconds, memory_seconds);
}

Floor floor_of(const Cost& cost, const MachineRates& rates) {
  return {cost.flops / rates.flops_per_second, cost.bytes / rates.bytes_per_second};
}

void explain_floors(const MachineRates& rates) {
  fmt::print("Machine: {:.0f} GFLOP/s, {:.1f} GB/s, as measured now.\n",
             rates.flops_per_second * 1e-9, rates.bytes_per_second * 1e-9);
  fmt::print(
      "A floor is the time that the work needs at these rates: the multiply-adds of kept weights "
      "only, or the bytes, if each pass reads and writes every tensor once; floor / time is the "
      "larger of both as a share of the measured time, so 1 is the limit of the machine, except "
      "where a cache keeps tensors from one pass to the next.\n\n");
}

}  // namespace sculpt::bench
