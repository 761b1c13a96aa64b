#pragma once
// What an op of a recorded network must move and compute: its floor. Every activation is read and
// written once, and nothing stays in a cache; weights are left out, being small beside them. Only
// weights that the mask keeps are multiplied.

#include <cstdint>

#include "engine/autograd/graph.h"

namespace sculpt::bench {

struct Cost {
  double flops = 0;
  double bytes = 0;

  Cost operator+(const Cost& other) const { return {flops + other.flops, bytes + other.bytes}; }
};

/// How the activations of a backend lie in memory.
struct Storage {
  double element_bytes = 0;
  /// Bytes per element of the batch-norm sums that a convolution leaves beside its output.
  double sum_bytes = 0;
  /// True if batch norm finds the sums beside its input and does not read the input for them.
  bool (*has_sums)(const Graph& graph, Value v) = nullptr;
};

/// Storage of the graph's backend.
Storage storage_of(const Graph& graph);

Cost forward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);
/// Both gradients of a layer with a weight.
Cost backward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);

/// The gradient of the weight of a layer that has one.
Cost weight_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);
/// Nothing if the layer reads images, which have no gradient.
Cost input_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);

}  // namespace sculpt::bench
