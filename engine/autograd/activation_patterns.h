#pragma once
// Activation patterns: which ReLUs are open, and which pixel wins each window of max pooling.
//
// The gradient of a network is a smooth function of its weights as long as the pattern stays the
// same, and jumps where it changes. The Hessian, which is defined almost everywhere, knows no
// jumps: a difference of gradients agrees with it only if both gradients have the pattern of the
// point between them. So the graph can record the patterns of one forward pass and hold them in
// later ones, with other weights: a ReLU then passes what was positive, whatever its sign is now,
// and max pooling passes the pixel that won.

#include <span>
#include <vector>

#include "engine/autograd/node.h"
#include "engine/core/buffer.h"

namespace sculpt {

/// Copies of the activations that decide (Node::gate), for the largest batch of a graph.
class ActivationPatterns {
 public:
  /// The graph is finished.
  explicit ActivationPatterns(const Graph& graph);

  /// Copies the gate of a node that has just run forward, if the node has one.
  void record(const Node& node, const Replay& replay);

  /// By value: its copy; null where the value is not a gate.
  std::span<void* const> values() const { return values_; }
  /// An activation as large as any.
  void* scratch() const { return scratch_; }

 private:
  struct Gate {
    kernels::ActivationShape shape;
    const Node* node = nullptr;  ///< the first one with this gate, which records it
  };
  const kernels::ElementwiseKernels& kernels_;
  std::vector<Gate> gates_;    // by value
  std::vector<void*> values_;  // by value
  Buffer memory_;
  void* scratch_ = nullptr;
};

}  // namespace sculpt
