// The passes of convolutions on blocks of images. Each pass runs on the lists of kept weights or by
// Winograd's algorithm.

#include <algorithm>
#include <cstring>

#include "engine/ops/weighted_node.h"
#include "kernels/common/parallel.h"

namespace sculpt::ops {

using kernels::RowRange;

/// The workspace of the passes of one direction on blocks. Passes by Winograd's algorithm keep
/// their transformed weights, the partial gradients of the threads and the scratch of the threads
/// here. Passes on lists have buffers of their own.
class WeightedNode::BlockWorkspace {
 public:
  BlockWorkspace(const WeightedNode& node, Direction direction, int64_t images, void* memory)
      : kernels_(node.arena_->backend().winograd.on_blocks),
        shape_(node.sparse_.shape()),
        points_pass_(direction == Direction::forward ? ConvPass::forward : ConvPass::input_grad),
        first_(static_cast<std::byte*>(memory)) {
    if (!node.winograd_fits_blocks(images)) return;
    points_bytes_ = kernels_.points_bytes(shape_, points_pass_);
    if (direction == Direction::backward) partial_bytes_ = kernels_.partial_bytes(shape_);
    scratch_bytes_ = kernels_.scratch_bytes(shape_);
  }

  size_t bytes() const {
    return points_bytes_ + static_cast<size_t>(thread_count()) * (partial_bytes_ + scratch_bytes_);
  }

  const void* points() const { return first_; }
  void transform(const void* weight) const {
    kernels_.transform(first_, weight, shape_, points_pass_);
  }

  void* partial(int thread) const {
    return partials() + static_cast<size_t>(thread) * partial_bytes_;
  }
  void zero_partials() const {
    const auto bytes = static_cast<int64_t>(partial_bytes_) * thread_count();
    parallel_for(bytes, [&](int64_t begin, int64_t end, int) {
      std::memset(partials() + begin, 0, static_cast<size_t>(end - begin));
    });
  }
  void sum_partials(void* dweight) const {
    kernels_.sum_partials(dweight, partials(), thread_count(), shape_,
                          kernels::GradWrite::overwrite);
  }

  void* scratch(int thread) const {
    return partials() + static_cast<size_t>(thread_count()) * partial_bytes_ +
           static_cast<size_t>(thread) * scratch_bytes_;
  }

 private:
  std::byte* partials() const { return first_ + points_bytes_; }

  const kernels::WinogradBlockKernels& kernels_;
  const kernels::Conv2dShape& shape_;
  ConvPass points_pass_;
  std::byte* first_;
  size_t points_bytes_ = 0;
  size_t partial_bytes_ = 0;
  size_t scratch_bytes_ = 0;
};

// Layers with a bias do not run on blocks, because the bias gradient would need partial sums of its
// own; layers followed by batch norm have no bias. Layers with planes of one pixel do not run on
// blocks either, because they are faster on the whole batch.
BlockPasses* WeightedNode::block_passes() {
  const kernels::ActivationShape& out = sparse_.shape().out;
  const bool possible =
      sparse_.kernels().on_blocks.forward != nullptr && !bias_ && out.height * out.width > 1;
  return possible ? this : nullptr;
}

BlockTraits WeightedNode::block_traits() const {
  const kernels::Conv2dShape& shape = sparse_.shape();
  return {.window = {shape.kernel_h, shape.stride, shape.padding}, .weight_grad = true};
}

bool WeightedNode::winograd_fits_blocks(int64_t images) const {
  const kernels::WinogradBlockKernels& winograd = arena_->backend().winograd.on_blocks;
  return winograd.fits != nullptr && by_winograd(images) && winograd.fits(sparse_.shape());
}

bool WeightedNode::ready(const Replay& batch) const {
  // The dense kernel of a full gradient needs the whole activations in memory.
  if (arena_->full_gradients().requested()) return false;
  return std::ranges::all_of(kernels::kConvPasses, [&](ConvPass pass) {
    return on_lists(pass) || winograd_fits_blocks(batch.images());
  });
}

size_t WeightedNode::block_workspace_bytes(Direction direction) const {
  return BlockWorkspace(*this, direction, max_batch_, nullptr).bytes();
}

void WeightedNode::begin(Direction direction, const Replay& batch) {
  const BlockWorkspace workspace(*this, direction, batch.images(), batch.workspace());
  if (direction == Direction::forward) {
    if (on_lists(ConvPass::forward))
      sparse_.gather();
    else
      workspace.transform(dense_weight());
    return;
  }
  if (batch.grad(inputs[0]) != nullptr) {
    if (on_lists(ConvPass::input_grad))
      sparse_.gather();
    else
      workspace.transform(dense_weight());
  }
  if (on_lists(ConvPass::weight_grad))
    sparse_.zero_partials();
  else
    workspace.zero_partials();
}

void WeightedNode::run(Direction direction, const Replay& block, const RowRange& rows) {
  const BlockWorkspace workspace(*this, direction, block.images(), block.workspace());
  const auto& lists = sparse_.kernels().on_blocks;
  const auto& winograd = arena_->backend().winograd.on_blocks;
  const kernels::Conv2dShape& shape = sparse_.shape();
  const bool by_lists =
      on_lists(direction == Direction::forward ? ConvPass::forward : ConvPass::input_grad);
  const void* const weight = by_lists ? sparse_.values() : workspace.points();
  void* const scratch = by_lists ? nullptr : workspace.scratch(block.thread());
  if (direction == Direction::forward) {
    const kernels::ConvForward args = {.y = block.data(output),
                                       .x = block.data(inputs[0]),
                                       .weight = weight,
                                       .workspace = scratch,
                                       .launch = block.launch};
    by_lists ? lists.forward(args, sparse_.conv(), rows) : winograd.forward(args, shape, rows);
  } else if (void* dx = block.grad(inputs[0])) {
    const kernels::ConvInputGrad args = {.dx = dx,
                                         .write = grad_write[0],
                                         .dy = block.grad(output),
                                         .weight = weight,
                                         .workspace = scratch,
                                         .launch = block.launch};
    by_lists ? lists.input_grad(args, sparse_.conv(), rows)
             : winograd.input_grad(args, shape, rows);
  }
}

void WeightedNode::weight_grad(const Replay& block, const RowRange& rows) {
  kernels::ConvWeightGrad args = {
      .dy = block.grad(output), .x = block.data(inputs[0]), .launch = block.launch};
  if (on_lists(ConvPass::weight_grad)) {
    args.dweight = sparse_.partial(block.thread());
    return sparse_.kernels().on_blocks.weight_grad(args, sparse_.conv(), rows);
  }
  const BlockWorkspace workspace(*this, Direction::backward, block.images(), block.workspace());
  args.dweight = workspace.partial(block.thread());
  args.workspace = workspace.scratch(block.thread());
  arena_->backend().winograd.on_blocks.weight_grad(args, sparse_.shape(), rows);
}

void WeightedNode::end(Direction direction, const Replay& batch) {
  if (direction == Direction::forward) return;
  void* const dweight = arena_->edit_gradient(weight_);
  if (on_lists(ConvPass::weight_grad))
    sparse_.sum_partials(dweight);
  else
    BlockWorkspace(*this, direction, batch.images(), batch.workspace()).sum_partials(dweight);
}

}  // namespace sculpt::ops
