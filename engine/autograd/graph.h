#pragma once
// A training step as a program: ops are recorded once for fixed shapes, the graph is differentiated
// and given one memory plan by finish(), and then replayed with no allocation, shape check or
// lookup.
//
// On a CPU, neighbouring nodes of a training step run block by block where they can (BlockPasses):
// a thread takes rows of some images through all of them while these are in cache. Activations that
// such nodes only hand on to one another are then never whole: the backward pass makes them again.
//
// The graph knows nothing of any particular op. An op is a Node: its value, its gradient written
// next to it, and what its gradient reads (so that the plan can reuse every activation that is
// dead).

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/autograd/block_schedule.h"
#include "engine/autograd/parameters.h"
#include "engine/core/buffer.h"
#include "engine/core/device_value.h"
#include "kernels/backend.h"
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

/// Which layers run on kernels that skip masked weights, where the backend has them: those where
/// that is faster, all that have a masked weight, none. Results differ in the last bits.
enum class SparseKernels { automatic, on, off };

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
  /// Measures for SparseKernels::automatic, and remembers. Null: densities decide.
  kernels::Chooser* chooser = nullptr;
  /// Dense 3x3 convolutions by Winograd's algorithm, where the backend holds it to be faster.
  /// Rounding errors are larger (kernels/winograd.h).
  bool winograd = true;
  kernels::Launch launch;
  /// Training step of the run, the counter of dropout's random numbers; in the backend's memory.
  const uint64_t* step = nullptr;
  uint64_t seed = 0;

  void* data(Value v) const { return here(data_, v, local_data_); }
  /// Null if nothing needs the gradient of v (the images).
  void* grad(Value v) const { return here(grad_, v, local_grads_); }
  /// Where data(v) and grad(v) are to be copied, around the cache; null: they are there.
  void* data_copy(Value v) const { return copy_of(data_, v, local_data_); }
  void* grad_copy(Value v) const { return copy_of(grad_, v, local_grads_); }
  /// Whether to write the gradient of v around the cache.
  bool streams_grad(Value v) const { return streamed_[v.index] != 0; }
  void* workspace() const { return workspace_; }
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
  struct Local {
    std::byte* first = nullptr;  ///< of thread 0; null: it is not local
    bool copied = false;
    bool band = false;  ///< holds only the rows at hand
  };

  void* at_block(std::span<void* const> whole, Value v) const {
    if (whole[v.index] == nullptr) return nullptr;
    return static_cast<std::byte*>(whole[v.index]) + block_ * block_bytes_[v.index];
  }
  void* here(std::span<void* const> whole, Value v, std::span<const Local> locals) const {
    const Local& local = locals[v.index];
    if (local.first == nullptr) return at_block(whole, v);
    return local.first + thread_ * block_bytes_[v.index] -
           (local.band ? first_row_ * row_bytes_[v.index] : 0);
  }
  void* copy_of(std::span<void* const> whole, Value v, std::span<const Local> locals) const {
    return locals[v.index].copied ? at_block(whole, v) : nullptr;
  }

  // Of the graph, by value: a replay is copied for each thread.
  std::span<void* const> data_;
  std::span<void* const> grad_;
  std::span<kernels::ChannelSums* const> sums_;
  std::span<const int64_t> block_bytes_,
      row_bytes_;  ///< from one block of images or row to the next
  std::span<const Local> local_data_, local_grads_;  ///< in what runs now
  std::span<const uint8_t> streamed_;
  void* workspace_ = nullptr;
  int64_t images_ = 0;
  int64_t block_ = 0;
  int64_t first_row_ = 0;  ///< of those at hand
  int thread_ = 0;
};

enum class Pass { forward, backward };

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
  /// some rows of x in the forward pass, of the output in the backward pass.
  virtual bool sums() const { return false; }
  virtual void sum(Pass, const Replay& /*block*/, const kernels::RowRange&) {}
  /// Whether run(Pass::forward) may be called again in the backward pass, before this node's turn,
  /// with what backward() reads.
  virtual bool remakes() const { return false; }

  /// In this order: `begin` once, after all sums; `run` and weight_grad for all rows; `end` once.
  virtual void begin(Pass, const Replay& /*batch*/) {}
  /// Rows of the output in the forward pass, of the inputs in the backward pass.
  virtual void run(Pass, const Replay& block, const kernels::RowRange& rows) = 0;
  /// Whether backward() is weight_grad, for all rows of the output, and `run`, which then reads no
  /// inputs.
  virtual bool has_weight_grad() const { return false; }
  virtual void weight_grad(const Replay& /*block*/, const kernels::RowRange&) {}
  virtual void end(Pass, const Replay& /*batch*/) {}
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
  virtual size_t workspace_bytes() const { return 0; }

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

class Graph {
 public:
  Graph(const kernels::Backend& backend, ParameterArena& parameters, int64_t max_batch)
      : backend_(backend), parameters_(parameters), max_batch_(max_batch) {}

  // Recording.
  const kernels::Backend& backend() const { return backend_; }
  ParameterArena& parameters() const { return parameters_; }
  int64_t max_batch() const { return max_batch_; }
  /// An activation that is filled from outside. Images need no gradient.
  Value input(int64_t channels, int64_t height, int64_t width, bool needs_grad = false);
  /// Appends a node. With channels == 0 it has no output (a loss).
  Value add(std::unique_ptr<Node> node, int64_t channels, int64_t height, int64_t width);
  /// Raises the zero border of v to at least `halo`.
  void require_halo(Value v, int64_t halo);
  /// Ties the zero borders of these values: elementwise kernels walk all of them alike.
  void require_same_halo(const std::vector<Value>& values);
  /// Marks a parameter as used; using one twice is an error (gradients are overwritten).
  void claim(ParameterId id);
  /// Sizes of v; its halo is final after finish().
  const kernels::ActivationShape& shape(Value v) const { return values_[v.index].shape; }

  bool is_input(Value v) const { return values_[v.index].producer < 0; }

  /// Plans memory and allocates everything. Nothing may be recorded afterwards.
  void finish();

  // Replay.
  Replay& replay() { return replay_; }
  const Replay& replay() const { return replay_; }
  void set_step(uint64_t step) { step_.set(step); }
  /// Chooses kernels anew for the layers whose masks have changed, and how their weights are
  /// stored; forward() and backward() do so too. It may run passes of these layers for their time,
  /// on activations that the next forward() overwrites.
  void follow_masks();
  /// Runs all nodes on `batch` images.
  void forward(Mode mode, int64_t batch);
  /// Back from the last node; after forward() in train or frozen mode.
  void backward();
  /// Back from the gradient of v, which the caller has written to replay().grad(v).
  void backward_from(Value v);

  const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  /// Whether a pass of a layer runs on kernels that skip masked weights.
  bool skips_masked() const;
  /// Bytes of activations, activation gradients, channel sums and workspace.
  size_t planned_bytes() const {
    return memory_.bytes() + local_memory_.bytes() + sums_memory_.bytes() + workspace_.bytes();
  }

  /// Seconds spent per node, forward and backward, since profiling was switched on.
  struct NodeTime {
    double forward = 0;
    double backward = 0;
  };
  void set_profiling(bool on);
  const std::vector<NodeTime>& profile() const { return profile_; }

 private:
  struct ValueRecord {
    kernels::ActivationShape shape;
    int producer = -1;  ///< node, or -1 for an input
    bool needs_grad = false;
    int halo_group = -1;  ///< values of one group get the group's largest halo
  };
  int halo_group(int value);
  void settle_halos();
  void plan_schedule();
  void plan_memory();
  void plan_locals();
  void plan_sums();
  void follow_masks(const Replay& replay);
  void run_backward(int last_node);
  void run_node(Pass pass, int node);
  bool runs_on_blocks() const;
  void run_groups(Pass pass);
  /// body(const Replay&) for each block of the batch, in parallel.
  template <class Body>
  void for_each_block(const Body& body) const;
  bool ready(const StepGroup& group);
  void run_on_blocks(Pass pass, const StepGroup& group);
  void run_step(Pass pass, const Step& step, Replay& block, const kernels::RowRange& rows);
  void sum_missing(Pass pass, const StepGroup& group);
  void place_locals(Pass pass, const StepGroup& group);
  void forget_locals(const StepGroup& group);
  void remake_inputs(const Node& node);

  const kernels::Backend& backend_;
  ParameterArena& parameters_;
  int64_t max_batch_;
  std::vector<ValueRecord> values_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<bool> claimed_;
  BlockSchedule schedule_;
  std::vector<bool> summed_;  ///< per node: whether its sums of this pass are made
  std::vector<bool> whole_;   ///< per value: not of schedule_.remade, or there all the same
  std::vector<Replay::Local> local_data_, local_grads_;  ///< per value, of the group that runs
  std::vector<uint8_t> streamed_;                        ///< the same
  std::vector<std::vector<int64_t>> rows_done_;          ///< per thread: scratch of run_bands()
  bool finished_ = false;
  Buffer memory_, local_memory_, sums_memory_, workspace_;
  int local_threads_ = 0;  ///< that local_memory_ is for
  /// Where the locals of each group are, forward and then backward.
  std::vector<std::vector<std::byte*>> local_places_;
  DeviceValue<uint64_t> step_;
  std::vector<kernels::ChannelSums> sums_;  ///< per value
  // What replay_ reads, per value.
  std::vector<void*> data_, grad_;
  std::vector<kernels::ChannelSums*> sums_of_;
  std::vector<int64_t> block_bytes_, row_bytes_;
  Replay replay_;
  int64_t mask_version_ = -1;  // that nodes have followed
  bool profiling_ = false;
  std::vector<NodeTime> profile_;
};

}  // namespace sculpt
