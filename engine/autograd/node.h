#pragma once
// An op of a training step: what it computes, what its gradient reads, and what it sees while it
// runs.
//
// An op is a Node: its value, its gradient written next to it, and what its gradient reads (so that
// the graph can reuse every activation that is dead).

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

/// Which layers run on kernels that skip masked weights, where the backend has them. `automatic`:
/// the rule of engine/ops/kernel_rule.h decides for each pass. `tuned`: each pass is timed. `on`:
/// all layers with a masked weight. `off`: none. Results differ in the last bits.
enum class SparseKernels { automatic, on, off, tuned };

/// What the three passes of a layer with a weight run on: Choice::native, dense kernels, or
/// Choice::sparse.
struct PassKernels {
  kernels::Choice forward = kernels::Choice::native;
  kernels::Choice input_grad = kernels::Choice::native;
  kernels::Choice weight_grad = kernels::Choice::native;
  bool operator==(const PassKernels&) const = default;
};

/// What a node sees while it is replayed: the whole batch, or one block of its images.
class Replay {
 public:
  Mode mode = Mode::train;
  SparseKernels sparse = SparseKernels::automatic;
  /// Times kernels for SparseKernels::tuned and remembers the faster ones. Null: the rule decides.
  kernels::Chooser* chooser = nullptr;
  /// Dense 3x3 convolutions by Winograd's algorithm, where the backend holds it to be faster.
  /// Rounding errors are larger (kernels/winograd.h).
  bool winograd = true;
  kernels::Launch launch;
  /// Training step of the run, the counter of dropout's random numbers; in the backend's memory.
  const uint64_t* step = nullptr;
  uint64_t seed = 0;
  /// False: dropout passes everything in training mode, too.
  bool dropout = true;
  /// Weight of this batch in batch norm's running statistics, instead of the layer's own momentum.
  std::optional<float> statistics_momentum;

  void* data(Value v) const { return here(data_, v, scratch_data_); }
  /// Null if nothing needs the gradient of v (the images).
  void* grad(Value v) const { return here(grad_, v, scratch_gradients_); }
  /// Where data(v) and grad(v) are to be copied, around the cache; null: they are there.
  void* data_copy(Value v) const { return copy_of(data_, v, scratch_data_); }
  void* grad_copy(Value v) const { return copy_of(grad_, v, scratch_gradients_); }
  /// Whether to write the gradient of v around the cache.
  bool streams_grad(Value v) const { return streamed_[v.index] != 0; }
  void* workspace() const { return workspace_; }
  /// While activation patterns are held (Graph::hold_patterns): what v, the gate of a node, was
  /// when they were recorded. Null at other times.
  const void* held(Value v) const {
    return held_.empty() ? nullptr : held_[static_cast<size_t>(v.index)];
  }
  /// Room for an activation of any shape, while patterns are held; garbage between two nodes.
  void* gate_scratch() const { return gate_scratch_; }
  /// Where the producer of v leaves sums of v's channels, and consumers find them. Null in
  /// evaluation, and if the producer cannot or no consumer takes them.
  kernels::ChannelSums* sums(Value v) const {
    return mode == Mode::train ? sums_[v.index] : nullptr;
  }

  /// Images of the whole batch; launch.batch counts those of the block.
  int64_t images() const { return images_; }
  int64_t block() const { return block_; }
  /// That runs the block, in [0, thread_count()).
  int thread() const { return thread_; }

 private:
  friend class Graph;
  /// A thread's own block of a value, while a group of nodes runs.
  struct Scratch {
    std::byte* first = nullptr;  ///< of thread 0; null: it is not local
    bool copied = false;
    bool band = false;  ///< holds only the rows at hand
  };

  void* at_block(std::span<void* const> whole, Value v) const {
    if (whole[v.index] == nullptr) return nullptr;
    return static_cast<std::byte*>(whole[v.index]) + block_ * block_bytes_[v.index];
  }
  void* here(std::span<void* const> whole, Value v, std::span<const Scratch> scratch) const {
    const Scratch& local = scratch[v.index];
    if (local.first == nullptr) return at_block(whole, v);
    return local.first + thread_ * block_bytes_[v.index] -
           (local.band ? first_row_ * row_bytes_[v.index] : 0);
  }
  void* copy_of(std::span<void* const> whole, Value v, std::span<const Scratch> scratch) const {
    return scratch[v.index].copied ? at_block(whole, v) : nullptr;
  }

  // Of the graph, by value: a replay is copied for each thread.
  std::span<void* const> data_;
  std::span<void* const> grad_;
  std::span<kernels::ChannelSums* const> sums_;
  // From one block of images, and from one row, to the next.
  std::span<const int64_t> block_bytes_, row_bytes_;
  std::span<const Scratch> scratch_data_, scratch_gradients_;  ///< in what runs now
  std::span<const uint8_t> streamed_;
  std::span<void* const> held_;  ///< empty: patterns are not held
  void* gate_scratch_ = nullptr;
  void* workspace_ = nullptr;
  int64_t images_ = 0;
  int64_t block_ = 0;
  int64_t first_row_ = 0;  ///< of those at hand
  int thread_ = 0;
};

enum class Direction { forward, backward };

/// How a node runs on blocks of images in training, `lanes` of the backend each and some rows at a
/// time (kernels::band_rows()), from several threads at a time. The results are those of
/// Node::forward() and backward(), but for the order of sums over threads.
class BlockPasses {
 public:
  virtual ~BlockPasses() = default;

  /// Whether the present replay can run on blocks; asked before each pass.
  virtual bool ready(const Replay& batch) = 0;
  /// Which rows of the inputs a row of the output reads.
  virtual RowWindow window() const { return {}; }
  /// Whether `run` needs sums over the batch first (see ScheduledNode::sums); `sum` makes them, of
  /// some rows of x in the forward pass, of the output in the backward pass. It then also copies
  /// these rows (Replay::data_copy, grad_copy) if asked to, as `run` does with the output.
  virtual bool sums() const { return false; }
  virtual void sum(Direction, const Replay& /*block*/, const kernels::RowRange&) {}
  /// Whether run(Direction::forward) may be called again in the backward pass, before this node's
  /// turn, with what backward() reads.
  virtual bool can_recompute() const { return false; }

  /// In this order: `begin` once, after all sums; `run` and weight_grad for all rows; `end` once.
  virtual void begin(Direction, const Replay& /*batch*/) {}
  /// Rows of the output in the forward pass, of the inputs in the backward pass.
  virtual void run(Direction, const Replay& block, const kernels::RowRange& rows) = 0;
  /// Whether backward() is weight_grad, for all rows of the output, and `run`, which then reads no
  /// inputs.
  virtual bool has_weight_grad() const { return false; }
  virtual void weight_grad(const Replay& /*block*/, const kernels::RowRange&) {}
  virtual void end(Direction, const Replay& /*batch*/) {}
};

/// What a node is, for tables and cost models.
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
  /// Called before a pass over the graph if masks may have changed. Returns whether, from now on,
  /// the node reads info.weight and writes its gradient only where it is kept, and takes it to be
  /// stored like that (ParameterArena::store_kept).
  virtual bool follow_mask(const Replay&) { return false; }
  virtual void forward(const Replay&) = 0;
  /// Adds to or overwrites (see grad_write) the gradients of its inputs; overwrites its
  /// parameters'.
  virtual void backward(const Replay&) = 0;

  /// What backward() reads besides the output's gradient.
  virtual bool backward_reads_input(size_t) const { return false; }
  virtual bool backward_reads_output() const { return false; }
  /// The input or output whose values decide what the node lets pass (the signs behind a ReLU, the
  /// order before max pooling). None: the node is smooth.
  virtual Value gate() const { return {}; }
  virtual size_t workspace_bytes() const { return 0; }
  /// The fewest images that forward() takes in training; after prepare().
  virtual int64_t least_training_batch() const { return 1; }

  /// Bytes of channel sums that forward() in training can leave beside its output; 0: it cannot.
  virtual size_t output_sums_bytes() const { return 0; }
  /// Whether forward() in training has a use for the sums of input i.
  virtual bool takes_sums(size_t) const { return false; }

  /// Nothing where there is no choice.
  virtual std::optional<PassKernels> pass_kernels() const { return std::nullopt; }

  /// Null: runs on whole batches only. Asked after prepare().
  virtual BlockPasses* block_passes() { return nullptr; }

  NodeInfo info;
  std::vector<Value> inputs;
  Value output;                                ///< none for a loss
  std::vector<kernels::GradWrite> grad_write;  ///< per input; set by finish()
};

}  // namespace sculpt
