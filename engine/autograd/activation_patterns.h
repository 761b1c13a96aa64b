#pragma once
// An activation pattern says which ReLUs are open, and which pixel wins each window of max pooling.
//
// The gradient of a network is a smooth function of its weights as long as the pattern stays the
// same, and jumps where it changes. The Hessian, which is defined almost everywhere, does not
// contain these jumps. A difference of gradients therefore agrees with the Hessian only if both
// gradients use the pattern of the point between them. So the graph can record the patterns of one
// forward pass and hold them in later passes with other weights. A ReLU then passes the elements
// that were positive when the pattern was recorded, whatever their sign is now, and max pooling
// passes the pixel that won then.

#include <span>
#include <vector>

#include "engine/autograd/replay.h"
#include "engine/core/buffer.h"

namespace sculpt {

/// Copies of all gate activations (Node::gate), with memory for the largest batch of a graph.
class ActivationPatterns {
 public:
  /// Requires that finish() has been called on the graph.
  explicit ActivationPatterns(const Graph& graph);

  /// Copies the gate of a node that has just run forward, if the node has one.
  void record(const Node& node, const Replay& replay);

  /// Returns the copies, indexed by value; null where the value is not a gate.
  std::span<void* const> values() const { return values_; }

 private:
  struct Gate {
    kernels::ActivationShape shape;
    const Node* node = nullptr;  ///< the first one with this gate, which records it
  };
  const kernels::ElementwiseKernels& kernels_;
  std::vector<Gate> gates_;    // indexed by value
  std::vector<void*> values_;  // indexed by value
  Buffer memory_;
};

}  // namespace sculpt
