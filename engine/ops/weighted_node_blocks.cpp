// The passes of convolutions on blocks of images. Each pass runs on the lists of kept weights or by
// Winograd's algorithm.

#include <algorithm>

#include "engine/ops/weighted_node.h"

namespace sculpt::ops {

using kernels::RowRange;

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

WinogradWorkspace WeightedNode::winograd_workspace(Direction direction, int64_t images) const {
  if (!winograd_fits_blocks(images)) return {};
  return {arena_->backend().winograd.on_blocks, sparse_.shape(), direction == Direction::backward};
}

size_t WeightedNode::block_workspace_bytes(Direction direction) const {
  return winograd_workspace(direction, max_batch_).bytes();
}

void WeightedNode::begin(Direction direction, const Replay& batch) {
  winograd_ = winograd_workspace(direction, batch.images());
  winograd_.place(batch.workspace());
  if (direction == Direction::forward) {
    begin_weight(ConvPass::forward);
    return;
  }
  if (batch.grad(inputs[0]) != nullptr) begin_weight(ConvPass::input_grad);
  if (on_lists(ConvPass::weight_grad))
    sparse_.zero_partials();
  else
    winograd_.zero_partials();
}

void WeightedNode::begin_weight(ConvPass pass) {
  if (on_lists(pass))
    sparse_.gather();
  else
    winograd_.transform(dense_weight());
}

void WeightedNode::run(Direction direction, const Replay& block, const RowRange& rows) {
  const auto& lists = sparse_.kernels().on_blocks;
  const auto& winograd = arena_->backend().winograd.on_blocks;
  const kernels::Conv2dShape& shape = sparse_.shape();
  const bool by_lists =
      on_lists(direction == Direction::forward ? ConvPass::forward : ConvPass::input_grad);
  const void* const weight = by_lists ? sparse_.values() : winograd_.points();
  void* const scratch = by_lists ? nullptr : winograd_.scratch(block.thread());
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
  args.dweight = winograd_.partial(block.thread());
  args.workspace = winograd_.scratch(block.thread());
  arena_->backend().winograd.on_blocks.weight_grad(args, sparse_.shape(), rows);
}

void WeightedNode::end(Direction direction, const Replay&) {
  if (direction == Direction::forward) return;
  void* const dweight = arena_->edit_gradient(weight_);
  if (on_lists(ConvPass::weight_grad))
    sparse_.sum_partials(dweight);
  else
    winograd_.sum_partials(dweight);
}

}  // namespace sculpt::ops
