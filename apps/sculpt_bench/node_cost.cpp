#include "apps/sculpt_bench/node_cost.h"

#include <algorithm>

namespace sculpt::bench {

namespace {

double bytes_of(const Graph& graph, Value v, int64_t batch) {
  return static_cast<double>(graph.shape(v).elements_per_image() * batch) *
         static_cast<double>(graph.backend().activation_bytes);
}

/// Multiply-accumulates of a forward pass, without those that the mask spares.
double kept_macs(const Graph& graph, const Node& node, int64_t batch) {
  const auto macs = static_cast<double>(node.info.macs * batch);
  if (node.info.weight < 0) return macs;
  ParameterArena& arena = graph.parameters();
  const auto mask = ParameterArena::slice(arena.masks(), arena[node.info.weight]);
  const auto masked = static_cast<double>(std::ranges::count(mask, uint8_t{0}));
  return macs * (1 - masked / static_cast<double>(mask.size()));
}

}  // namespace

Cost forward_cost(const Graph& graph, const Node& node, int64_t batch) {
  Cost cost;
  cost.flops = 2.0 * kept_macs(graph, node, batch);
  for (const Value v : node.inputs)
    cost.bytes += bytes_of(graph, v, batch);
  // Statistics need a pass of their own before anything can be written, unless x came with sums.
  const bool reads_twice =
      node.info.op == "batch_norm" && graph.replay().sums(node.inputs[0]) == nullptr;
  if (reads_twice) cost.bytes += bytes_of(graph, node.inputs[0], batch);
  if (node.output.index >= 0) cost.bytes += bytes_of(graph, node.output, batch);
  return cost;
}

Cost backward_cost(const Graph& graph, const Node& node, int64_t batch) {
  Cost cost;
  if (node.output.index < 0) return cost;
  const double dy = bytes_of(graph, node.output, batch);
  const bool has_weight = node.info.macs > 0;
  const bool images = graph.is_input(node.inputs[0]);
  if (has_weight) {
    cost.flops = (images ? 2.0 : 4.0) * kept_macs(graph, node, batch);
    cost.bytes = dy + bytes_of(graph, node.inputs[0], batch);                // weight gradient
    if (!images) cost.bytes += dy + bytes_of(graph, node.inputs[0], batch);  // input gradient
    return cost;
  }
  cost.bytes = dy;
  for (const Value v : node.inputs)
    cost.bytes += bytes_of(graph, v, batch);
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.backward_reads_input(i)) cost.bytes += bytes_of(graph, node.inputs[i], batch);
  if (node.backward_reads_output()) cost.bytes += dy;
  // The reductions of batch norm read gradient and input once more.
  if (node.info.op == "batch_norm") cost.bytes += 2 * dy;
  return cost;
}

}  // namespace sculpt::bench
