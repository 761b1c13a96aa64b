#pragma once
// A graph is a training step as a program. Ops are recorded once for fixed shapes. finish() then
// differentiates the graph and plans its memory. Afterwards the graph is replayed without
// allocations, shape checks or lookups.
//
// On a CPU, neighbouring nodes of a training step run block by block where they can
// (blocks/executor.h): a thread takes some rows of a block of images through all of these nodes
// while the rows are in cache. An activation that only these nodes read is then never materialised,
// and the backward pass recomputes it.
//
// The graph does not know any particular op: see node.h.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/autograd/activation_patterns.h"
#include "engine/autograd/blocks/executor.h"
#include "engine/autograd/joint_passes.h"
#include "engine/autograd/memory_plan.h"
#include "engine/autograd/node.h"
#include "engine/autograd/replay.h"
#include "engine/core/buffer.h"
#include "engine/core/device_value.h"

namespace sculpt {

class Graph {
 public:
  Graph(const kernels::Backend& backend, ParameterArena& parameters, int64_t max_batch)
      : backend_(backend), parameters_(parameters), max_batch_(max_batch) {}

  // These functions record the graph.
  const kernels::Backend& backend() const { return backend_; }
  ParameterArena& parameters() const { return parameters_; }
  int64_t max_batch() const { return max_batch_; }
  /// Adds an activation that the caller fills. Images need no gradient.
  Value input(int64_t channels, int64_t height, int64_t width, bool needs_grad = false);
  /// Appends a node. A node with channels == 0 has no output (a loss). The node's output needs a
  /// gradient if the node has claimed a parameter or one of its inputs needs one.
  Value add(std::unique_ptr<Node> node, int64_t channels, int64_t height, int64_t width);
  /// Raises the zero border of v to at least `halo`.
  void require_halo(Value v, int64_t halo);
  /// Gives these values the same zero border, because elementwise kernels walk all of them in the
  /// same way.
  void require_same_halo(const std::vector<Value>& values);
  /// Marks a parameter as used by the node that is added next. Using a parameter twice is an error,
  /// because its gradient is overwritten.
  void claim(ParameterId id);
  /// Returns the sizes of v; its halo is final after finish().
  const kernels::ActivationShape& shape(Value v) const { return values_[v.index].shape; }

  size_t value_count() const { return values_.size(); }
  /// Returns true if the backward pass computes the gradient of v: a parameter was used on the way
  /// to v, or v was recorded as an input that needs a gradient.
  bool needs_grad(Value v) const { return values_[v.index].needs_grad; }

  /// Plans memory and allocates everything. Nothing may be recorded afterwards.
  void finish();

  // These functions replay the graph.
  /// Returns the settings of the coming passes.
  PassSettings& settings() { return replay_; }
  const PassSettings& settings() const { return replay_; }
  /// Returns the state that nodes see: the settings, and the places of activations in memory.
  const Replay& replay() const { return replay_; }
  void set_step(uint64_t step) { step_.set(step); }
  /// Chooses kernels again for the layers whose masks have changed, and stores weights as the
  /// kernels read them. forward() and backward() do the same. The call may run passes of these
  /// layers to time them, on activations that the next forward() overwrites.
  void follow_masks();
  /// Runs all nodes on `batch` images.
  void forward(Mode mode, int64_t batch) { forward(mode, PassImages{batch}); }
  /// Runs all nodes on images of a batch that several processes share. There may be none; nodes
  /// that exchange sums with other processes then still run.
  void forward(Mode mode, const PassImages& pass);
  /// Runs the backward pass from the last node. Requires a forward() in train or frozen mode. Nodes
  /// that do not depend on any parameter (a pooling of images) take no part.
  void backward();
  /// Runs the backward pass from v, whose gradient the caller has written to replay().grad(v). The
  /// pass must not start between two nodes that run jointly (joint_passes.h).
  void backward_from(Value v);

  // These functions record and hold activation patterns (activation_patterns.h). While patterns are
  // recorded or held, nodes run one by one on the whole batch.
  /// Makes forward() record the patterns from now on. Allocates memory for a copy of every
  /// activation that is a gate.
  void record_patterns();
  /// Makes forward() and backward() use the patterns of the last forward pass from now on. That
  /// pass must have had the same images.
  void hold_patterns();
  /// Makes each forward pass use its own patterns again. Frees the memory of the patterns.
  void release_patterns();

  /// Called when the gradient of a parameter is final: no later kernel of the backward pass writes
  /// it. On a GPU the kernels that write it have been launched by then, and in a recorded step the
  /// observer runs only while the step is recorded.
  using GradientObserver = std::function<void(ParameterId)>;
  /// backward() tells the observer every parameter that it computes a gradient for, once, in an
  /// order that depends on the graph and the backend only: that of JointPasses::order(), and of
  /// one node the order of registration. Nodes that run on blocks report when their whole group has
  /// run. An empty observer switches reports off. It must not run passes of the graph.
  void observe_gradients(GradientObserver observer) { gradient_observer_ = std::move(observer); }

  const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  /// Returns the number of groups of steps that have run on blocks of images so far.
  int64_t groups_on_blocks() const { return blocks_->groups_run(); }
  /// Returns the bytes of activations, activation gradients, sums of both and workspace. Once a
  /// group has run on blocks, the threads' scratch memory is included.
  size_t planned_bytes() const {
    return memory_.bytes() + blocks_->scratch_bytes() + sums_memory_.bytes() + joint_->bytes() +
           workspace_.bytes();
  }

  /// The seconds that a node has taken, forward and backward, since profiling was switched on.
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
  /// The times of each value and of its gradient in the memory plan, indexed by value. The lifetime
  /// of a gradient that the backward pass does not compute is empty.
  struct Lifetimes {
    std::vector<Lifetime> data, grad;
  };
  void plan_joint_passes();
  void plan_blocks();
  void choose_grad_writes();
  Lifetimes find_lifetimes() const;
  void plan_memory();
  void plan_sums();
  void follow_masks(bool may_overwrite);
  void choose_kernels(bool may_overwrite);
  void run_backward(int last_node);
  void run_without_images(Direction direction, int node);
  void run_node(Direction direction, int node);
  void report_gradients(int node) const;
  void report_joint_gradients(int node) const;
  bool runs_on_blocks() const;
  void run_groups(Direction direction);

  const kernels::Backend& backend_;
  ParameterArena& parameters_;
  int64_t max_batch_;
  std::vector<ValueRecord> values_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<bool> has_backward_;  ///< per node: true if the backward pass runs it
  std::vector<bool> claimed_;
  std::vector<ParameterId> next_parameters_;  ///< claimed for a node that is not added yet
  std::vector<std::vector<ParameterId>> parameters_of_;  ///< per node: claimed by it
  GradientObserver gradient_observer_;
  std::optional<BlockExecutor> blocks_;  ///< set by finish()
  std::optional<JointPasses> joint_;     ///< set by finish()
  bool finished_ = false;
  Buffer memory_, sums_memory_, workspace_;
  std::optional<ActivationPatterns> patterns_;  ///< no value: each pass uses its own patterns
  std::optional<int64_t> images_recorded_;      ///< batch of the recorded patterns
  DeviceValue<uint64_t> step_;
  std::vector<kernels::ChannelSums> sums_;  ///< per value
  // replay_.memory refers to these arrays, which are indexed by value.
  std::vector<void*> data_, grad_;
  std::vector<kernels::ChannelSums*> sums_of_;
  std::vector<int64_t> block_bytes_, row_bytes_;
  Replay replay_;
  SharedPattern pattern_;               // the mask that the nodes have followed
  std::vector<ParameterId> kept_only_;  // weights whose nodes read kept elements only
  int mask_threads_ = 0;                // thread_count() when they did
  bool profiling_ = false;
  std::vector<NodeTime> profile_;
};

}  // namespace sculpt
