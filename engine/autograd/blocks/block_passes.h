#pragma once
// The interface of a node that can run on blocks of images in training. A block has Backend::lanes
// images. The executor passes some rows of a block at a time (kernels::band_rows()) and calls from
// several threads. The results equal those of Node::forward() and backward() up to the order of
// sums over threads.

#include "engine/autograd/blocks/row_bands.h"
#include "engine/autograd/replay.h"

namespace sculpt {

/// Properties of a node that the schedule of blocks depends on.
struct BlockTraits {
  /// The rows of the inputs that a row of the output depends on.
  RowWindow window = {};
  /// True if `run` first needs sums over the batch, in both directions (see ScheduledNode::sums).
  bool sums = false;
  /// True if backward() is split in two: weight_grad, called for all rows of the output, and `run`,
  /// which then does not read the inputs.
  bool weight_grad = false;
  /// True if the output can be recomputed in the backward pass: run(Direction::forward) may then be
  /// called again, before this node's own backward step, and reads only what backward() reads.
  bool can_recompute = false;
};

class BlockPasses {
 public:
  virtual ~BlockPasses() = default;

  virtual BlockTraits block_traits() const = 0;
  /// Returns true if the node can run this batch on blocks now. The kernels of a layer, and with
  /// them the answer, change with its mask. Called before each pass.
  virtual bool ready(const Replay& batch) const = 0;
  /// Returns the most bytes that the node needs between begin() and end(), under any mask. All
  /// functions from begin() to end() find them at Replay::workspace(), 64-byte aligned. Threads
  /// share them.
  virtual size_t block_workspace_bytes(Direction) const { return 0; }

  // The executor calls these functions in the following order: `sum` for all rows; `begin` once;
  // `run` and `weight_grad` for all rows; `end` once.
  /// Adds up some rows: rows of input 0 in the forward pass, rows of the output's gradient in the
  /// backward pass. If a copy is requested (Replay::data_copy, grad_copy), `sum` also copies the
  /// rows that it reads, and `run` also copies the output.
  virtual void sum(Direction, const Replay& /*block*/, const kernels::RowRange&) {}
  virtual void begin(Direction, const Replay& /*batch*/) {}
  /// `rows` are rows of the output in the forward pass and rows of the inputs in the backward pass.
  virtual void run(Direction, const Replay& block, const kernels::RowRange& rows) = 0;
  virtual void weight_grad(const Replay& /*block*/, const kernels::RowRange&) {}
  virtual void end(Direction, const Replay& /*batch*/) {}
};

}  // namespace sculpt
