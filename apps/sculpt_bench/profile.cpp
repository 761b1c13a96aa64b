#include "apps/sculpt_bench/profile.h"

#include <chrono>
#include <fmt/format.h>
#include <map>

#include "apps/sculpt_bench/machine_rates.h"
#include "apps/sculpt_bench/node_cost.h"
#include "engine/core/memory_use.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {

namespace {

using Clock = std::chrono::steady_clock;

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
  const double floor = floor_of(row.cost, rates).seconds();
  fmt::print("| {} | {:.2f} | {:.2f} | {:.1f} % | {:.3g} | {:.1f} | {:.2f} |\n", name,
             row.forward * 1e3, row.backward * 1e3, 100 * seconds / step_seconds,
             row.cost.flops / seconds * 1e-9, row.cost.bytes / seconds * 1e-9,
             floor > 0 ? floor / seconds : 0.0);
}

void print_header(const char* what) {
  fmt::print("| {} | forward ms | backward ms | share | GFLOP/s | GB/s | floor / time |\n", what);
  fmt::print("|---|---|---|---|---|---|---|\n");
}

}  // namespace

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

  std::map<std::string, Row> by_op;
  std::vector<std::pair<std::string, Row>> by_layer;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = *graph.nodes()[n];
    Row row;
    row.forward = graph.profile()[n].forward / steps;
    row.backward = graph.profile()[n].backward / steps;
    const Storage storage = storage_of(graph);
    row.cost =
        forward_cost(graph, node, batch, storage) + backward_cost(graph, node, batch, storage);
    by_layer.emplace_back(node.info.name, row);
    Row& sum = by_op[std::string(node.info.op)];
    sum.forward += row.forward;
    sum.backward += row.backward;
    sum.cost = sum.cost + row.cost;
  }
  by_op["load images"].forward = step.load_seconds / steps;
  Row& update = by_op["masked SGD"];
  update.backward = step.update_seconds / steps;
  update.cost = update_cost(step.network().parameters());

  fmt::print("Step: {:.2f} ms, {:.1f} images/s, {} threads, {}. ", step_seconds * 1e3,
             static_cast<double>(batch) / step_seconds, thread_count(), graph.backend().name);
  fmt::print(
      "Activations {:.1f} MiB, weights with their gradients, momentum and masks {:.2f} MiB, peak "
      "memory {:.1f} MiB.\n",
      mebibytes(graph.planned_bytes()), mebibytes(step.network().parameters().bytes()),
      mebibytes(static_cast<size_t>(peak_bytes)));
  const Cost all = step_cost(graph, batch);
  const Floor floor = floor_of(all, rates);
  fmt::print(
      "Without profiling, and with blocks of images going through several ops: {:.2f} ms. The step "
      "computes {:.4g} GFLOP, which take at least {:.2f} ms, and moves {:.2f} GB, which take "
      "{:.2f} ms if all are moved: floor / time {:.2f}.\n",
      unprofiled_seconds * 1e3, all.flops * 1e-9, floor.arithmetic_seconds * 1e3, all.bytes * 1e-9,
      floor.memory_seconds * 1e3, floor.seconds() / unprofiled_seconds);
  explain_floors(rates);
  print_header("op");
  for (const auto& [name, row] : by_op)
    print_row(name, row, step_seconds, rates);
  fmt::print("\n");
  print_header("layer");
  for (const auto& [name, row] : by_layer)
    print_row(name, row, step_seconds, rates);
}

}  // namespace sculpt::bench
