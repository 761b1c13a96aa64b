#include "apps/sculpt_bench/node_cost.h"

#include "engine/nn/cost.h"

namespace sculpt::bench {

namespace {

double bytes_of(const Graph& graph, Value v, int64_t batch, const Storage& storage) {
  return static_cast<double>(graph.shape(v).elements_per_image() * batch) * storage.element_bytes;
}

/// Returns the FLOPs of one pass, without those of masked weights.
double pass_flops(const Graph& graph, const Node& node, int64_t batch) {
  const double density = weight_density(graph.parameters(), node.info.weight);
  return layer_flops(node.info.macs * batch, density, 1);
}

/// Returns the bytes that are read because a gradient is added to and not overwritten.
double read_before(const Graph& graph, const Node& node, size_t input, int64_t batch,
                   const Storage& storage) {
  return node.grad_write[input] == kernels::GradWrite::accumulate
             ? bytes_of(graph, node.inputs[input], batch, storage)
             : 0;
}

}  // namespace

Storage storage_of(const Graph& graph) {
  return {static_cast<double>(graph.backend().activation_bytes), 0,
          [](const Graph& g, Value v) { return g.replay().sums(v) != nullptr; }};
}

Cost forward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage) {
  Cost cost;
  cost.flops = pass_flops(graph, node, batch);
  for (const Value v : node.inputs)
    cost.bytes += bytes_of(graph, v, batch, storage);
  if (node.output.index >= 0) cost.bytes += bytes_of(graph, node.output, batch, storage);
  const double sums = storage.sum_bytes / storage.element_bytes;
  if (node.info.op == "batch_norm") {
    // Statistics need a pass of their own over x before anything can be written, unless sums came
    // with x.
    const Value x = node.inputs[0];
    cost.bytes += bytes_of(graph, x, batch, storage) * (storage.has_sums(graph, x) ? sums : 1);
  } else if (node.output.index >= 0 && storage.has_sums(graph, node.output)) {
    cost.bytes += bytes_of(graph, node.output, batch, storage) * sums;
  }
  return cost;
}

Cost weight_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage) {
  return {pass_flops(graph, node, batch), bytes_of(graph, node.output, batch, storage) +
                                              bytes_of(graph, node.inputs[0], batch, storage)};
}

Cost input_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage) {
  if (!graph.needs_grad(node.inputs[0])) return {};
  Cost cost = weight_grad_cost(graph, node, batch, storage);
  cost.bytes += read_before(graph, node, 0, batch, storage);
  return cost;
}

Cost backward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage) {
  Cost cost;
  if (node.output.index < 0 || !graph.needs_grad(node.output)) return cost;
  if (node.info.macs > 0)
    return weight_grad_cost(graph, node, batch, storage) +
           input_grad_cost(graph, node, batch, storage);
  const double dy = bytes_of(graph, node.output, batch, storage);
  const double y = node.backward_reads_output() ? dy : 0;
  cost.bytes = dy + y;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const double x = bytes_of(graph, node.inputs[i], batch, storage);
    if (graph.needs_grad(node.inputs[i]))
      cost.bytes += x + read_before(graph, node, i, batch, storage);
    if (node.backward_reads_input(i)) cost.bytes += x;
  }
  // The reductions of batch norm read the gradient and the input once more, and also the output if
  // it tells whether the gate was open.
  if (node.info.op == "batch_norm") cost.bytes += 2 * dy + y;
  return cost;
}

Cost update_cost(const ParameterArena& parameters) {
  return {0, static_cast<double>(parameters.layout()->count()) * (5 * 4 + 1)};
}

Cost step_cost(const Graph& graph, int64_t batch) {
  const Storage storage = storage_of(graph);
  Cost cost = update_cost(graph.parameters());
  for (const auto& node : graph.nodes())
    cost = cost + forward_cost(graph, *node, batch, storage) +
           backward_cost(graph, *node, batch, storage);
  return cost;
}

}  // namespace sculpt::bench
