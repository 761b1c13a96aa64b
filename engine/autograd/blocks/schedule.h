#pragma once
// The order in which a training step runs when blocks of images go through several nodes while they
// are in cache: groups of neighbouring steps, each of which a thread runs block by block, and in a
// block a few rows at a time.
//
// What is written and read within one group is local to a thread: it has one block of it, which it
// uses again for all its blocks of images and which stays in cache. So is what other groups want,
// too, if it is large and batch norm can copy it to memory, around the cache.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/autograd/blocks/row_bands.h"

namespace sculpt {

/// An activation as the schedule sees it.
struct ScheduledValue {
  int64_t rows = 1;
  int64_t band = 1;         ///< steps run so many of its rows at a time
  int64_t block_bytes = 0;  ///< of one block of images
  int64_t bytes = 0;        ///< of all
};

/// A node as the schedule sees it.
struct ScheduledNode {
  std::vector<int> inputs;  ///< values
  int output = -1;          ///< value, or none
  bool on_blocks = false;   ///< whether it can run on one block of images at a time
  /// Whether it needs sums over the whole batch first: of input 0 in the forward pass, of the
  /// output's gradient in the backward pass. Such a node copies: the output when it runs forward,
  /// what it sums when it does that.
  bool sums = false;
  /// Whether the gradient of its weight is a step of its own, then the only one that reads inputs.
  bool weight_grad = false;
  /// Whether its output can be made again from what its backward pass reads.
  bool can_recompute = false;
  std::vector<int> backward_reads;  ///< those of `inputs` that its backward pass reads
  RowWindow window = {};
};

/// What a step does for its node, in the forward or the backward pass.
enum class Work {
  run,          ///< the output; the gradient of the inputs
  sum,          ///< the sums that `run` needs
  weight_grad,  ///< the gradient of the weight
  recompute     ///< in the backward pass, the output once more
};

struct Step {
  int node = 0;
  Work work = Work::run;
  bool operator==(const Step&) const = default;
};

/// An activation or a gradient that is local to the threads while a group runs.
struct ScratchValue {
  int value = 0;
  bool gradient = false;
  bool copied = false;  ///< to memory, for other groups
  bool band = false;    ///< only the rows at hand, always in the same place
  size_t offset = 0;    ///< of thread 0's block, in the memory of all scratch; set by the graph
  bool operator==(const ScratchValue&) const = default;
};

/// Steps that depend on one another within a block of images only. Nodes that cannot run on blocks
/// are groups of their own. Sums stand right behind the step that completes what they sum.
struct StepGroup {
  std::vector<Step> steps;
  std::vector<BandStep> bands;  ///< of each step
  int64_t rounds = 1;           ///< of run_bands()
  std::vector<ScratchValue> scratch;
  std::vector<int> streamed;  ///< values whose gradients are written around the cache
};

struct BlockSchedule {
  std::vector<StepGroup> forward, backward;
};

BlockSchedule schedule_blocks(const std::vector<ScheduledNode>& nodes,
                              const std::vector<ScheduledValue>& values);

}  // namespace sculpt
