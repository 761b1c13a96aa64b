#include "apps/sculpt_bench/profile.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <map>

#include "apps/sculpt_bench/node_cost.h"
#include "engine/core/buffer.h"
#include "engine/core/memory_use.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {

namespace {

using Clock = std::chrono::steady_clock;

template <class Body>
double best_seconds(int repeats, Body body) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = Clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

double seconds_per_step(TrainingStep& step, int steps) {
  const auto start = Clock::now();
  for (int i = 0; i < steps; ++i)
    step.run();
  return std::chrono::duration<double>(Clock::now() - start).count() / steps;
}

double mebibytes(size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

struct Row {
  double forward = 0, backward = 0;  // seconds per step
  Cost cost;
};

void print_row(const std::string& name, const Row& row, double step_seconds,
               const MachineRates& rates) {
  const double seconds = row.forward + row.backward;
  const double floor =
      std::max(row.cost.flops / rates.flops_per_second, row.cost.bytes / rates.bytes_per_second);
  fmt::print("| {} | {:.2f} | {:.2f} | {:.1f} % | {:.1f} | {:.1f} | {:.2f} |\n", name,
             row.forward * 1e3, row.backward * 1e3, 100 * seconds / step_seconds,
             row.cost.flops / seconds * 1e-9, row.cost.bytes / seconds * 1e-9,
             floor > 0 ? floor / seconds : 0.0);
}

void print_header(const char* what) {
  fmt::print("\n| {} | forward ms | backward ms | share | GFLOP/s | GB/s | floor / time |\n", what);
  fmt::print("|---|---|---|---|---|---|---|\n");
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

void print_profile(TrainingStep& step, int steps) {
  Graph& graph = step.network().graph();
  const int64_t batch = graph.max_batch();
  for (int i = 0; i < 3; ++i)
    step.run();
  const double unprofiled_seconds = seconds_per_step(step, steps);
  graph.set_profiling(true);
  step.load_seconds = step.update_seconds = 0;
  const double step_seconds = seconds_per_step(step, steps);
  const int64_t peak_bytes = peak_memory_bytes();  // before the copy test below raises it
  const MachineRates rates = measure_machine();

  Cost all;
  std::map<std::string, Row> by_op;
  std::vector<std::pair<std::string, Row>> by_layer;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = *graph.nodes()[n];
    Row row;
    row.forward = graph.profile()[n].forward / steps;
    row.backward = graph.profile()[n].backward / steps;
    const Storage storage = storage_of(graph);
    const Cost f = forward_cost(graph, node, batch, storage);
    const Cost b = backward_cost(graph, node, batch, storage);
    row.cost = {f.flops + b.flops, f.bytes + b.bytes};
    by_layer.emplace_back(node.info.name, row);
    all.flops += row.cost.flops;
    all.bytes += row.cost.bytes;
    Row& sum = by_op[std::string(node.info.op)];
    sum.forward += row.forward;
    sum.backward += row.backward;
    sum.cost.flops += row.cost.flops;
    sum.cost.bytes += row.cost.bytes;
  }
  by_op["load images"].forward = step.load_seconds / steps;
  Row& update = by_op["masked SGD"];
  update.backward = step.update_seconds / steps;
  const SharedLayout& stored = step.network().parameters().layout();
  update.cost.bytes = static_cast<double>(stored->count()) * (5 * 4 + 1);

  fmt::print("Step: {:.2f} ms, {:.1f} images/s, {} threads, {}. ", step_seconds * 1e3,
             static_cast<double>(batch) / step_seconds, thread_count(), graph.backend().name);
  fmt::print(
      "Machine: {:.0f} GFLOP/s, {:.1f} GB/s. Activations {:.1f} MiB, weights with their gradients, "
      "momentum and masks {:.2f} MiB, peak memory {:.1f} MiB.\n",
      rates.flops_per_second * 1e-9, rates.bytes_per_second * 1e-9,
      mebibytes(graph.planned_bytes()), mebibytes(step.network().parameters().bytes()),
      mebibytes(static_cast<size_t>(peak_bytes)));
  fmt::print(
      "Without profiling, and with blocks of images going through several ops: {:.2f} ms. "
      "All ops: {:.1f} GFLOP, which take at least {:.2f} ms; {:.2f} GB, which take {:.2f} ms if "
      "all are moved.\n",
      unprofiled_seconds * 1e3, all.flops * 1e-9, all.flops / rates.flops_per_second * 1e3,
      all.bytes * 1e-9, all.bytes / rates.bytes_per_second * 1e3);
  print_header("op");
  for (const auto& [name, row] : by_op)
    print_row(name, row, step_seconds, rates);
  print_header("layer");
  for (const auto& [name, row] : by_layer)
    print_row(name, row, step_seconds, rates);
}

}  // namespace sculpt::bench
