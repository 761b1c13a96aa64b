#pragma once
// An op of a training step. An op is a Node: it computes a value and, next to it, the gradient. It
// declares what its gradient reads, so that the graph can reuse the memory of every activation that
// is no longer needed. Replay is what a node sees while it runs.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/autograd/blocks/row_bands.h"
#include "engine/parameters/parameter_arena.h"
#include "kernels/device/backend.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

class Graph;

/// Handle of an activation of a graph.
struct Value {
  int index = -1;
  bool operator==(const Value&) const = default;
};

/// Training uses batch statistics and dropout and allows backward(); evaluation uses running
/// statistics. `frozen` is evaluation that allows backward(): batch norm is a constant affine map
/// (SynFlow).
enum class Mode { train, eval, frozen };

/// Selects the layers that run on kernels that skip masked weights, where the backend has such
/// kernels. `automatic`: the rule of engine/ops/kernel_rule.h decides for each pass. `tuned`: each
/// pass is timed. `on`: all layers with a masked weight. `off`: no layer. The choice changes the
/// last bits of results.
enum class SparseKernels { automatic, on, off, tuned };

/// The kernels that the three passes of a layer with a weight run on: dense kernels
/// (Choice::native) or kernels that skip masked weights (Choice::sparse).
struct PassKernels {
  kernels::Choice forward = kernels::Choice::native;
  kernels::Choice input_grad = kernels::Choice::native;
  kernels::Choice weight_grad = kernels::Choice::native;
  bool operator==(const PassKernels&) const = default;
};

/// The state that a node sees while it is replayed. A replay covers either the whole batch or one
/// block of its images.
class Replay {
 public:
  Mode mode = Mode::train;
  SparseKernels sparse = SparseKernels::automatic;
  /// Times kernels for SparseKernels::tuned and remembers the faster ones. If null, the rule of
  /// engine/ops/kernel_rule.h decides.
  kernels::Chooser* chooser = nullptr;
  /// True if dense 3x3 convolutions use Winograd's algorithm where the backend's table says that it
  /// is faster. Its rounding errors are larger (kernels/winograd.h).
  bool winograd = true;
  kernels::Launch launch;
  /// The number of the training step, which is the counter of dropout's random numbers. Lies in the
  /// backend's memory.
  const uint64_t* step = nullptr;
  uint64_t seed = 0;
  /// If false, dropout keeps all elements in training mode, too.
  bool dropout = true;
  /// The weight of this batch in batch norm's running statistics. It replaces the layer's own
  /// momentum.
  std::optional<float> statistics_momentum;

  void* data(Value v) const { return here(data_, v, scratch_data_); }
  /// Null if nothing needs the gradient of v (for example, if v holds the images).
  void* grad(Value v) const { return here(grad_, v, scratch_gradients_); }
  /// The memory to which the node must also write data(v) or grad(v), bypassing the cache. Null if
  /// no copy is needed.
  void* data_copy(Value v) const { return copy_of(data_, v, scratch_data_); }
  void* grad_copy(Value v) const { return copy_of(grad_, v, scratch_gradients_); }
  /// Returns true if the gradient of v is to be written with stores that bypass the cache.
  bool streams_grad(Value v) const { return streamed_[v.index] != 0; }
  void* workspace() const { return workspace_; }
  /// While activation patterns are held (Graph::hold_patterns): the recorded copy of v, which is
  /// the gate of a node. Null at other times.
  const void* held(Value v) const {
    return held_.empty() ? nullptr : held_[static_cast<size_t>(v.index)];
  }
  /// Memory for one activation of any shape, available while patterns are held. Its contents are
  /// undefined when a node starts.
  void* gate_scratch() const { return gate_scratch_; }
  /// The buffer in which the producer of v leaves sums of v's channels for its consumers. Null in
  /// evaluation, if the producer cannot compute sums, or if no consumer uses them.
  kernels::ChannelSums* sums(Value v) const {
    return mode == Mode::train ? sums_[v.index] : nullptr;
  }

  /// The number of images of the whole batch. launch.batch is the number of images in the block.
  int64_t images() const { return images_; }
  int64_t block() const { return block_; }
  /// Index of the thread that runs the block, in [0, thread_count()).
  int thread() const { return thread_; }

 private:
  friend class Graph;
  /// The scratch memory of a value: one block for each thread, valid while a group of nodes runs.
  struct Scratch {
    std::byte* first = nullptr;  ///< block of thread 0; null: the value is not in scratch
    bool copied = false;
    bool band = false;  ///< the block holds only the rows of the current step
  };

  void* at_block(std::span<void* const> whole, Value v) const {
    if (whole[v.index] == nullptr) return nullptr;
    return static_cast<std::byte*>(whole[v.index]) + block_ * block_bytes_[v.index];
  }
  void* here(std::span<void* const> whole, Value v, std::span<const Scratch> scratch) const {
    const Scratch& entry = scratch[v.index];
    if (entry.first == nullptr) return at_block(whole, v);
    return entry.first + thread_ * block_bytes_[v.index] -
           (entry.band ? first_row_ * row_bytes_[v.index] : 0);
  }
  void* copy_of(std::span<void* const> whole, Value v, std::span<const Scratch> scratch) const {
    return scratch[v.index].copied ? at_block(whole, v) : nullptr;
  }

  // Views of the graph's arrays. A replay is copied for each thread, so the views are held by
  // value.
  std::span<void* const> data_;
  std::span<void* const> grad_;
  std::span<kernels::ChannelSums* const> sums_;
  // Bytes between neighbouring blocks of images, and between neighbouring rows.
  std::span<const int64_t> block_bytes_, row_bytes_;
  std::span<const Scratch> scratch_data_, scratch_gradients_;  ///< for the group that runs now
  std::span<const uint8_t> streamed_;
  std::span<void* const> held_;  ///< empty: patterns are not held
  void* gate_scratch_ = nullptr;
  void* workspace_ = nullptr;
  int64_t images_ = 0;
  int64_t block_ = 0;
  int64_t first_row_ = 0;  ///< first row of the current step
  int thread_ = 0;
};

enum class Direction { forward, backward };

/// The interface of a node that can run on blocks of images in training. A block has Backend::lanes
/// images. The executor passes some rows of a block at a time (kernels::band_rows()) and calls from
/// several threads. The results equal those of Node::forward() and backward() up to the order of
/// sums over threads.
class BlockPasses {
 public:
  virtual ~BlockPasses() = default;

  /// Returns true if the node can run on blocks in the current replay. Called before each pass.
  virtual bool ready(const Replay& batch) = 0;
  /// The rows of the inputs that a row of the output depends on.
  virtual RowWindow window() const { return {}; }
  /// Returns true if `run` first needs sums over the batch (see ScheduledNode::sums). `sum` adds up
  /// some rows: rows of x in the forward pass, rows of the output in the backward pass. If a copy
  /// is requested (Replay::data_copy, grad_copy), `sum` also copies the rows that it reads, and
  /// `run` also copies the output.
  virtual bool sums() const { return false; }
  virtual void sum(Direction, const Replay& /*block*/, const kernels::RowRange&) {}
  /// Returns true if the output can be recomputed in the backward pass: run(Direction::forward) may
  /// then be called again, before this node's own backward step, and reads only what backward()
  /// reads.
  virtual bool can_recompute() const { return false; }

  /// The executor calls these in the following order: `begin` once, after all sums are complete;
  /// `run` and weight_grad for all rows; `end` once.
  virtual void begin(Direction, const Replay& /*batch*/) {}
  /// `rows` are rows of the output in the forward pass and rows of the inputs in the backward pass.
  virtual void run(Direction, const Replay& block, const kernels::RowRange& rows) = 0;
  /// Returns true if backward() is split in two: weight_grad, called for all rows of the output,
  /// and `run`, which then does not read the inputs.
  virtual bool has_weight_grad() const { return false; }
  virtual void weight_grad(const Replay& /*block*/, const kernels::RowRange&) {}
  virtual void end(Direction, const Replay& /*batch*/) {}
};

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
  /// Called before a pass over the graph if the mask has changed. Returns true if, from now on,
  /// the node reads info.weight and writes its gradient only at kept elements, and expects the
  /// weight to be stored without masked elements (ParameterArena::store_packed).
  virtual bool follow_mask(const Replay&) { return false; }
  virtual void forward(const Replay&) = 0;
  /// Overwrites the gradients of its inputs or adds to them (see grad_write). Overwrites the
  /// gradients of its parameters.
  virtual void backward(const Replay&) = 0;

  /// These two functions state what backward() reads besides the output's gradient.
  virtual bool backward_reads_input(size_t) const { return false; }
  virtual bool backward_reads_output() const { return false; }
  /// The input or output whose values determine which elements the node lets pass (the signs for a
  /// ReLU, the order for max pooling). Invalid if there is no such value, which means that the node
  /// is smooth.
  virtual Value gate() const { return {}; }
  virtual size_t workspace_bytes() const { return 0; }
  /// The smallest number of images that forward() accepts in training. Valid after prepare().
  virtual int64_t least_training_batch() const { return 1; }

  /// Bytes of channel sums that forward() in training can leave beside its output; 0 if it cannot.
  virtual size_t output_sums_bytes() const { return 0; }
  /// Returns true if forward() in training can use the channel sums of input i.
  virtual bool takes_sums(size_t) const { return false; }

  /// The kernels of the node's three passes; no value if the node has no choice of kernels.
  virtual std::optional<PassKernels> pass_kernels() const { return std::nullopt; }

  /// Null if the node runs on whole batches only. Called after prepare().
  virtual BlockPasses* block_passes() { return nullptr; }

  NodeInfo info;
  std::vector<Value> inputs;
  Value output;                                ///< invalid for a loss, which has no output
  std::vector<kernels::GradWrite> grad_write;  ///< per input; set by finish()
};

}  // namespace sculpt
