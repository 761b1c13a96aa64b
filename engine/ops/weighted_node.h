#pragma once
// WeightedNode is the common part of convolutions and linear layers. They have one input, a weight
// that may be masked, an optional bias, and for each of their three passes a choice between dense
// kernels and kernels that skip masked weights.

#include <optional>

#include "engine/autograd/blocks/block_passes.h"
#include "engine/core/error.h"
#include "engine/ops/kernel_choice.h"
#include "engine/ops/kernel_settings.h"
#include "engine/ops/sparse_layer.h"
#include "engine/ops/winograd_workspace.h"
#include "kernels/tuning/pass_kernels.h"

namespace sculpt::ops {

class WeightedNode : public Node, private BlockPasses {
 public:
  WeightedNode(NodeInfo node_info, Value x, ParameterId weight, std::optional<ParameterId> bias,
               const KernelSettings& settings)
      : Node(std::move(node_info), {x}), weight_(weight), bias_(bias), settings_(settings) {}

  void forward(const Replay& r) final;
  void backward(const Replay& r) final;
  bool follow_mask(const Replay& r, bool may_overwrite) final;
  BlockPasses* block_passes() final;
  bool backward_reads_input(size_t) const final { return true; }

  /// Returns the kernels of the three passes; no value if the backend has no kernels that skip
  /// masked weights.
  std::optional<kernels::PassKernels> pass_kernels() const;
  /// Returns everything that the choice of kernels for this pass depends on, under the current
  /// mask.
  PassProblem pass_problem(ConvPass pass) const;

 protected:
  /// Call this from prepare(). SparseLayer::prepare() describes `shape`.
  void prepare_sparse(const Graph& graph, const kernels::Conv2dShape& shape);

  // These functions run the passes on dense kernels. They read and write the activations of the
  // replay.
  virtual void dense_forward(const Replay& r) = 0;
  virtual void dense_input_grad(const Replay& r) = 0;
  virtual void dense_weight_grad(const Replay& r, void* dweight) = 0;
  /// Runs both backward passes on a dense kernel that takes the deferred gradient of the output
  /// (autograd/joint_passes.h).
  virtual void dense_joint_backward(const Replay& /*r*/, void* /*dweight*/) {
    fail("'{}' takes no deferred gradient", info.name);
  }

  const void* dense_weight() const { return arena_->compute_weight(weight_); }
  bool has_bias() const { return bias_.has_value(); }
  const void* bias() const { return bias_ ? arena_->weight(*bias_) : nullptr; }
  void* bias_gradient() const { return bias_ ? arena_->edit_gradient(*bias_) : nullptr; }

  /// Returns true if the dense kernels of this pass use Winograd's algorithm for batches of this
  /// many images.
  virtual bool by_winograd(int64_t /*images*/) const { return false; }
  const KernelSettings& settings() const { return settings_; }

 private:
  BlockTraits block_traits() const final;
  bool ready(const Replay& batch) const final;
  size_t block_workspace_bytes(Direction direction) const final;
  void begin(Direction direction, const Replay& r) final;
  void run(Direction direction, const Replay& block, const kernels::RowRange& rows) final;
  void weight_grad(const Replay& block, const kernels::RowRange& rows) final;
  void end(Direction direction, const Replay& r) final;

  /// Returns true if the pass runs on the lists of kept weights.
  bool on_lists(ConvPass pass) const {
    return choice_of(pass_kernels_, pass) == kernels::Choice::sparse;
  }
  bool winograd_fits_blocks(int64_t images) const;
  WinogradWorkspace winograd_workspace(Direction direction, int64_t images) const;
  /// Makes the weight ready for the pass on blocks: gathered on lists or transformed.
  void begin_weight(ConvPass pass);
  void run(ConvPass pass, kernels::Choice choice, const Replay& r, void* dweight);
  void run_sparse(ConvPass pass, const Replay& r, void* dweight);
  void full_weight_grad(const Replay& r);
  void choose_kernels(const Replay& r, bool may_time);
  kernels::PassKernels choose(const Replay& r, bool timed);
  kernels::Choice choose_faster(ConvPass pass, const Replay& r, bool timed);
  kernels::Timing measure(const PassProblem& problem, const Replay& r);
  void touch(void* activation, const kernels::ActivationShape& shape) const;

  ParameterId weight_;
  std::optional<ParameterId> bias_;
  KernelSettings settings_;
  ParameterArena* arena_ = nullptr;
  int64_t max_batch_ = 0;
  SparseLayer sparse_;
  kernels::PassKernels pass_kernels_;
  WinogradWorkspace winograd_;  ///< of the passes on blocks between begin() and end()
};

/// Returns the node as a layer with a weight; null for other nodes.
const WeightedNode* weighted_node(const Node& node);

}  // namespace sculpt::ops
