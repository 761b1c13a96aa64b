#pragma once
// Nodes can leave more to one another than activations and gradients in memory. Kernels that run
// two nodes together need this (kernels/conv_norm.h).
//
// A deferred gradient: the only consumer of a value (a batch norm) does not write the gradient of
// the value. It leaves a description, from which the node that computed the value (a convolution)
// computes the gradient while it loads. The two nodes run one right after the other, because the
// second one may also write gradients that the first one would have written (that of a residual).
//
// Sums of a gradient: the last node that writes the gradient of a value also writes sums of the
// gradient, for the node that computed the value. Only nodes that take a deferred gradient do this.
//
// A deferred activation: a node (a batch norm) does not write its output. It leaves a description,
// from which the only consumer (a convolution) computes the output while it loads, forward and
// backward. Only nodes that take a deferred gradient take a deferred activation.

#include <memory>
#include <span>
#include <vector>

#include "engine/autograd/node.h"
#include "engine/core/buffer.h"
#include "kernels/device/backend.h"

namespace sculpt {

/// Decides which nodes leave what to one another, and holds what they leave.
class JointPasses {
 public:
  using Nodes = std::vector<std::unique_ptr<Node>>;

  /// Decides which gradients and activations are deferred. The nodes have been prepared. The
  /// object refers to `nodes` and `has_backward` as long as it lives. `has_backward` says for each
  /// node whether the backward pass runs it, and `producers` has the node that computes a value, or
  /// -1 for an input of the graph.
  JointPasses(const Nodes& nodes, const std::vector<bool>& has_backward,
              std::vector<int> producers);

  /// Returns the node that computes the value from its description; -1 if the value is always
  /// written. While activation patterns are recorded or held, the value is written all the same.
  int taker_of_activation(int value) const { return taker_[static_cast<size_t>(value)]; }

  /// Returns the nodes in the order in which the backward pass runs them: from the last to the
  /// first, but with each node that takes a deferred gradient right behind the node that defers it.
  std::span<const int> order() const { return order_; }
  /// Returns true if any gradient is deferred.
  bool defers_gradients() const { return defers_gradients_; }
  /// Returns the node that defers the gradient of its input 0; -1 if the gradient of the value is
  /// written.
  int deferred_by(int value) const { return deferred_by_[static_cast<size_t>(value)]; }
  /// Returns the node that takes the gradient that this node defers; -1 if the node defers none.
  int taker_of_gradient(int node) const;

  /// Decides which sums are left, and allocates their memory.
  void plan_sums(const kernels::DeviceMemory* memory);
  size_t bytes() const { return sums_memory_.bytes(); }

  /// The places of descriptions and sums, indexed by value; null where there are none.
  std::span<kernels::DeferredActivation* const> activations() const { return activation_of_; }
  std::span<kernels::DeferredGradient* const> gradients() const { return deferred_of_; }
  std::span<kernels::GradientSums* const> sums() const { return sums_of_; }

  /// Forgets the sums of the pass before. Call this before each backward pass.
  void begin();
  /// Asks a node for the sums that it can leave. Call this before the node runs backward.
  void request_sums(int node, const Replay& replay);

 private:
  void find_deferred_gradients(const std::vector<int>& consumers);
  void find_deferred_activations(const std::vector<int>& consumers);

  const Nodes& nodes_;
  const std::vector<bool>& has_backward_;
  std::vector<int> producers_;
  std::vector<int> deferred_by_;  ///< per value
  std::vector<int> taker_;        ///< per value
  std::vector<int> order_;
  bool defers_gradients_ = false;
  std::vector<kernels::DeferredActivation> activations_;
  std::vector<kernels::DeferredActivation*> activation_of_;
  std::vector<kernels::DeferredGradient> deferred_;
  std::vector<kernels::DeferredGradient*> deferred_of_;
  std::vector<kernels::GradientSums> sums_;
  std::vector<kernels::GradientSums*> sums_of_;
  std::vector<int> value_summed_by_;  ///< per node: the value whose sums it leaves; -1: none
  Buffer sums_memory_;
};

}  // namespace sculpt
