// The counted cost of a training step against a plain count, and how it follows the masks.

#include "apps/sculpt_bench/node_cost.h"

#include <doctest/doctest.h>

#include "apps/sculpt_bench/machine_rates.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::bench;

namespace {

constexpr int64_t kBatch = 16;

/// Two convolutions with a batch norm in between, a mean over the pixels and a linear layer.
NetworkSpec small_spec() {
  NetworkSpec spec;
  spec.image = {3, 6, 8};
  spec.classes = 5;
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn", b.conv("first", x, 4), {.relu = true});
    x = b.conv("second", x, 7, {.stride = 2});
    return b.linear("fc", b.global_average_pool(x), 5);
  };
  return spec;
}

/// Keeps the first `kept` weights of every prunable parameter whose name starts with `name`.
void keep_first(Network& network, const std::string& name, int64_t kept) {
  network.parameters().edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : network.parameters().parameters())
      for (int64_t i = 0; p.prunable && p.name.starts_with(name) && i < p.count; ++i)
        masks[static_cast<size_t>(p.offset + i)] = i < kept ? 1 : 0;
  });
}

}  // namespace

TEST_CASE("step cost: FLOPs and bytes of a small network are those counted by hand") {
  const kernels::Backend& backend = kernels::cpu_backend();
  Network network(small_spec(), backend, kBatch);
  network.initialise(1);
  const Graph& graph = network.graph();

  // Elements of an activation, for all images.
  const double image = kBatch * 3 * 6 * 8, first = kBatch * 4 * 6 * 8, second = kBatch * 7 * 3 * 4;
  const double pooled = kBatch * 7, logits = kBatch * 5;
  // Multiply-adds of all weights in one pass.
  const double first_macs = first * 3 * 9, second_macs = second * 4 * 9, fc_macs = logits * 7;

  const auto flops = [&](double first_share, double second_share) {
    // Images have no gradient, so the first layer has two passes. The others have three.
    return 2 * (2 * first_macs * first_share + 3 * second_macs * second_share + 3 * fc_macs);
  };
  double bytes = 0;
  const auto activation = [&](double elements) {
    bytes += elements * static_cast<double>(backend.activation_bytes);
  };
  const auto each = [&](std::initializer_list<double> values) {
    for (const double elements : values)
      activation(elements);
  };
  each({image, first});                    // first: forward
  each({image, first});                    // first: weight gradient
  each({first, first, first});             // bn: statistics, input, output
  each({first, second});                   // second: forward
  each({first, second, first, second});    // second: both gradients
  each({second, pooled, second, pooled});  // mean: forward and backward
  each({pooled, logits});                  // fc: forward
  each({pooled, logits, pooled, logits});  // fc: both gradients
  Storage storage = storage_of(graph);
  Cost counted;
  for (const auto& node : graph.nodes()) {
    if (node->info.op == "batch_norm")
      counted = counted + forward_cost(graph, *node, kBatch, storage);
    else if (node->output.index >= 0)
      counted = counted + forward_cost(graph, *node, kBatch, storage) +
                backward_cost(graph, *node, kBatch, storage);
  }
  CHECK(counted.bytes == bytes);
  CHECK(counted.flops == flops(1, 1));

  const Cost dense = step_cost(graph, kBatch);
  CHECK(dense.flops == flops(1, 1));
  // The step also has the backward pass of batch norm, the loss, and the update: 21 bytes for each
  // parameter.
  CHECK(update_cost(network.parameters()).bytes ==
        static_cast<double>(network.parameters().count()) * 21);
  CHECK(dense.bytes > bytes + update_cost(network.parameters()).bytes);

  // 108 weights of the first convolution, 252 of the second.
  keep_first(network, "first", 27);
  CHECK(step_cost(graph, kBatch).flops == doctest::Approx(flops(0.25, 1)));
  keep_first(network, "second", 63);
  CHECK(step_cost(graph, kBatch).flops == doctest::Approx(flops(0.25, 0.25)));
  keep_first(network, "first", 108);
  CHECK(step_cost(graph, kBatch).flops == doctest::Approx(flops(1, 0.25)));
  // Masks change no activation.
  CHECK(step_cost(graph, kBatch).bytes <= dense.bytes);
  CHECK(step_cost(graph, kBatch).bytes > bytes);
}

TEST_CASE("floor: the larger of arithmetic and memory") {
  const MachineRates rates{.flops_per_second = 4e9, .bytes_per_second = 5e8};
  const Floor arithmetic = floor_of({.flops = 8e9, .bytes = 5e7}, rates);
  CHECK(arithmetic.arithmetic_seconds == doctest::Approx(2));
  CHECK(arithmetic.memory_seconds == doctest::Approx(0.1));
  CHECK(arithmetic.seconds() == doctest::Approx(2));
  const Floor memory = floor_of({.flops = 8e7, .bytes = 1.5e9}, rates);
  CHECK(memory.seconds() == doctest::Approx(3));
}

TEST_CASE("measured rates are those of a machine") {
  const MachineRates rates = measure_machine();
  CHECK(rates.flops_per_second > 1e7);
  CHECK(rates.bytes_per_second > 1e7);
}
