#pragma once
// Computes the floor of an op of a recorded network: what it must move and compute. Every
// activation is read and written once, and nothing stays in a cache. Weights are left out, because
// they are small beside the activations. Only weights that the mask keeps are multiplied.

#include <cstdint>

#include "engine/autograd/graph.h"

namespace sculpt::bench {

struct Cost {
  double flops = 0;
  double bytes = 0;

  Cost operator+(const Cost& other) const { return {flops + other.flops, bytes + other.bytes}; }
};

/// Says how the activations of a backend are stored.
struct Storage {
  double element_bytes = 0;
  /// Bytes per element of the batch-norm sums that a convolution leaves beside its output.
  double sum_bytes = 0;
  /// Returns true if batch norm finds sums beside its input v and therefore does not read v to
  /// compute statistics.
  bool (*has_sums)(const Graph& graph, Value v) = nullptr;
};

/// Returns the storage of the graph's backend.
Storage storage_of(const Graph& graph);

Cost forward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);
/// Returns the cost of the backward pass; for a layer with a weight, the cost of both gradients.
Cost backward_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);

/// Returns the cost of the weight gradient of a layer that has a weight.
Cost weight_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);
/// Returns no cost if the layer reads images, which have no gradient.
Cost input_grad_cost(const Graph& graph, const Node& node, int64_t batch, const Storage& storage);

/// Returns the cost of the update by masked SGD, which reads and writes weights and momentum, and
/// reads gradients and masks. Packed arrays leave out the masked weights of some layers.
Cost update_cost(const ParameterArena& parameters);

/// Returns the cost of a training step: both passes of every op, and the update. Loading the images
/// is left out.
Cost step_cost(const Graph& graph, int64_t batch);

}  // namespace sculpt::bench
