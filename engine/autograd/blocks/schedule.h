#pragma once
// Decides the order in which a training step runs when blocks of images go through several nodes
// while they are in cache. Neighbouring steps form groups. A thread runs a group block by block,
// and within a block a few rows at a time.
//
// A value that only one group writes and reads lives in scratch: each thread has memory for one
// block of it, uses this memory again for all its blocks of images, and so keeps it in cache. A
// value that other groups read, too, can also live in scratch if it is large and batch norm can
// copy it to memory, bypassing the cache.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/autograd/blocks/row_bands.h"

namespace sculpt {

/// The properties of an activation that the schedule depends on.
struct ScheduledValue {
  int64_t rows = 1;
  int64_t band = 1;         ///< steps run this many rows at a time
  int64_t block_bytes = 0;  ///< bytes of one block of images
  int64_t bytes = 0;        ///< bytes of the whole batch
};

/// The properties of a node that the schedule depends on.
struct ScheduledNode {
  std::vector<int> inputs;  ///< indices of values
  int output = -1;          ///< index of a value; -1: no output
  bool on_blocks = false;   ///< true if it can run on one block of images at a time
  /// True if the node first needs sums over the whole batch: of input 0 in the forward pass, of the
  /// output's gradient in the backward pass. Such a node can also copy values to memory: its output
  /// when it runs forward, and the rows that it sums.
  bool sums = false;
  /// True if the gradient of the node's weight is a separate step. That step is then the only
  /// backward step that reads the inputs.
  bool weight_grad = false;
  /// True if the output can be recomputed from what the node's backward pass reads.
  bool can_recompute = false;
  std::vector<int> backward_reads;  ///< the members of `inputs` that the backward pass reads
  RowWindow window = {};
};

/// The work that a step does for its node in the forward or backward direction.
enum class Work {
  run,          ///< forward: the output; backward: the gradient of the inputs
  sum,          ///< the sums that `run` needs
  weight_grad,  ///< the gradient of the weight
  recompute     ///< backward only: the output again
};

struct Step {
  int node = 0;
  Work work = Work::run;
  bool operator==(const Step&) const = default;
};

/// An activation or a gradient that lives in the threads' scratch while a group runs.
struct ScratchValue {
  int value = 0;
  bool gradient = false;
  bool copied = false;  ///< also copied to memory, for other groups
  bool band = false;    ///< scratch holds only the rows of the current step
  size_t offset = 0;    ///< place of thread 0's block in the scratch memory; set by the executor
  bool operator==(const ScratchValue&) const = default;
};

/// Steps that depend on one another only within a block of images. A node that cannot run on blocks
/// is a group of its own. A `sum` step stands directly behind the step that completes the value to
/// be summed.
struct StepGroup {
  std::vector<Step> steps;
  std::vector<BandStep> bands;  ///< per step: rows and dependencies
  int64_t rounds = 1;           ///< number of rounds for run_bands()
  std::vector<ScratchValue> scratch;
  std::vector<int> streamed;  ///< values with gradients that bypass the cache
};

struct BlockSchedule {
  std::vector<StepGroup> forward, backward;
};

BlockSchedule schedule_blocks(const std::vector<ScheduledNode>& nodes,
                              const std::vector<ScheduledValue>& values);

}  // namespace sculpt
