#pragma once
// An op of a training step is a Node: it computes a value and, next to it, the gradient. It
// declares what its gradient reads, so that the graph can reuse the memory of every activation that
// is no longer needed. While a node runs, it finds its inputs and its output through a Replay
// (replay.h). A node that can also run on a part of the batch offers BlockPasses
// (blocks/block_passes.h).

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/parameters/parameter_arena.h"
#include "kernels/common/layout.h"

namespace sculpt {

namespace kernels {
struct GradientSums;
}

class BlockPasses;
class Graph;
class Replay;

/// A handle of an activation of a graph.
struct Value {
  int index = -1;
  bool operator==(const Value&) const = default;
};

/// Training uses batch statistics and dropout and allows backward(); evaluation uses running
/// statistics. `frozen` is evaluation that allows backward(): batch norm is a constant affine map
/// (SynFlow).
enum class Mode { train, eval, frozen };

enum class Direction { forward, backward };

/// Describes a node for tables and cost models.
struct NodeInfo {
  std::string name;         ///< "layer1.0.conv1"
  std::string_view op;      ///< "conv2d"
  ParameterId weight = -1;  ///< the weight that macs are spent on
  int64_t macs = 0;         ///< multiply-accumulates of one image's forward pass; 0 if not counted
};

class Node {
 public:
  Node(NodeInfo node_info, std::vector<Value> node_inputs)
      : info(std::move(node_info)), inputs(std::move(node_inputs)) {}
  virtual ~Node() = default;

  /// Called once by finish(), when shapes and halos are final.
  virtual void prepare(const Graph&) {}
  /// Called before a pass over the graph if the mask has changed. If `may_overwrite` is true, no
  /// activation is needed any more, so that the node may run its passes to time kernels. Returns
  /// true if, from now on, the node reads info.weight and writes its gradient only at kept
  /// elements, and expects the weight to be stored without masked elements
  /// (ParameterArena::store_packed).
  virtual bool follow_mask(const Replay&, bool /*may_overwrite*/) { return false; }
  virtual void forward(const Replay&) = 0;
  /// Overwrites the gradients of its inputs or adds to them (see grad_write). Overwrites the
  /// gradients of its parameters.
  virtual void backward(const Replay&) = 0;

  /// Both functions state what backward() reads besides the output's gradient.
  virtual bool backward_reads_input(size_t) const { return false; }
  virtual bool backward_reads_output() const { return false; }
  /// Returns the input or output whose values determine which elements the node lets pass (the
  /// signs for a ReLU, the order for max pooling). The result is invalid if there is no such value,
  /// which means that the node is smooth.
  virtual Value gate() const { return {}; }
  virtual size_t workspace_bytes() const { return 0; }
  /// Returns the smallest number of images that forward() accepts in training. Called after
  /// prepare().
  virtual int64_t least_training_batch() const { return 1; }

  /// Returns the bytes of channel sums that forward() in training can leave beside its output; 0 if
  /// it cannot.
  virtual size_t output_sums_bytes() const { return 0; }
  /// Returns true if forward() in training can use the channel sums of input i.
  virtual bool takes_sums(size_t) const { return false; }

  // These functions say what a node can leave to another node beside activations and gradients, and
  // take from it (joint_passes.h).
  /// Returns true if forward() can describe the output in Replay::deferred_data() in the place of
  /// writing it.
  virtual bool can_defer_output() const { return false; }
  /// Returns true if backward() can describe the gradient of input 0 in Replay::deferred_grad() in
  /// the place of writing it. Called after prepare(), as are the functions below.
  virtual bool can_defer_gradient() const { return false; }
  /// Returns true if backward() can compute from such a description of the output's gradient.
  virtual bool takes_deferred_gradient() const { return false; }
  /// Returns the bytes of sums of the gradient of input 0 that backward() can leave in
  /// Replay::gradient_sums(), if the output's gradient is deferred; 0 if it can leave none.
  virtual size_t gradient_sums_bytes() const { return 0; }
  /// Returns true if backward() in training can use sums of the output's gradient.
  virtual bool takes_gradient_sums() const { return false; }
  /// Says which sums of the output's gradient backward() will use.
  virtual void request_gradient_sums(const Replay&, kernels::GradientSums&) {}

  /// Returns true if forward() and backward() in training exchange sums with the processes that
  /// share the batch. They then run even if this process has no images.
  virtual bool exchanges_sums(const Replay&) const { return false; }

  /// Returns null if the node runs on whole batches only. Called after prepare().
  virtual BlockPasses* block_passes() { return nullptr; }

  NodeInfo info;
  std::vector<Value> inputs;
  Value output;                                ///< invalid for a loss, which has no output
  std::vector<kernels::GradWrite> grad_write;  ///< per input; set by finish()
};

}  // namespace sculpt
