#pragma once
// Runs groups of nodes on blocks of images on a CPU. A thread takes a few rows of a block at a time
// through all steps of a group. docs/block-groups.md follows one group step by step.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/autograd/blocks/block_passes.h"
#include "engine/autograd/blocks/schedule.h"
#include "engine/core/buffer.h"

namespace sculpt {

class BlockExecutor {
 public:
  using Nodes = std::vector<std::unique_ptr<Node>>;

  /// The nodes have been prepared; the executor refers to them as long as it lives. `shapes` has
  /// the shape of each value, with its final halo.
  BlockExecutor(const kernels::Backend& backend, const Nodes& nodes,
                std::vector<kernels::ActivationShape> shapes, int64_t max_batch);

  /// Returns the groups of a direction, in the order in which they run.
  const std::vector<StepGroup>& groups(Direction direction) const {
    return direction == Direction::forward ? schedule_.forward : schedule_.backward;
  }
  /// Returns true if a batch has enough blocks for the threads. Threads take whole blocks, so with
  /// few blocks too many threads would be idle.
  bool fills_threads(int64_t images) const;

  /// Call this before each pass over the graph, even if the pass runs node by node.
  void begin(Direction direction);
  /// Runs all steps of a group. Returns false, and runs nothing, if a node of the group cannot run
  /// on blocks now. The nodes of the group then run on the whole batch.
  bool run(Direction direction, const StepGroup& group, const Replay& batch);
  /// Recomputes the inputs that the forward pass did not materialise, for a node whose backward
  /// step runs on the whole batch.
  void recompute_inputs(const Node& node, const Replay& batch);

  /// Returns the most bytes of workspace that the nodes of a group need together.
  size_t workspace_bytes() const;
  /// Returns the bytes of the threads' scratch memory, which is allocated when the first group
  /// runs.
  size_t scratch_bytes() const { return scratch_memory_.bytes(); }
  /// Returns the number of groups that run() has run so far.
  int64_t groups_run() const { return groups_run_; }

 private:
  BlockPasses& passes(const Step& step) const;
  std::vector<ScheduledValue> scheduled_values(int64_t max_batch) const;
  std::vector<ScheduledNode> scheduled_nodes(const std::vector<ScheduledValue>& values) const;
  bool ready(const StepGroup& group, const Replay& batch) const;
  void place_workspace(Direction direction, const StepGroup& group, void* workspace);
  /// Returns the batch with the workspace that the step's node has in the group that runs.
  Replay with_workspace(const Replay& batch, const Step& step) const;
  void plan_scratch(int threads);
  /// Calls body(const ScratchValue&, group's number) for each value in scratch of all groups.
  template <class Body>
  void for_each_scratch_value(const Body& body);
  /// Calls body(Replay&) for each block of the batch, in parallel.
  template <class Body>
  void for_each_block(const Replay& batch, const Body& body) const;
  void sum_missing(Direction direction, const StepGroup& group, const Replay& batch);
  void run_rows(Direction direction, const StepGroup& group, const Replay& batch);
  void run_step(Direction direction, const Step& step, Replay& block,
                const kernels::RowRange& rows) const;
  void place_scratch(Direction direction, const StepGroup& group);
  void forget_scratch(const StepGroup& group);

  const kernels::Backend& backend_;
  const Nodes& nodes_;
  std::vector<kernels::ActivationShape> shapes_;  ///< per value
  std::vector<int> producer_;                     ///< per value: a node, or -1 for an input
  BlockSchedule schedule_;
  std::vector<bool> summed_;  ///< per node: whether its sums of this pass are complete
  /// False for each value that the forward pass left in scratch only.
  std::vector<bool> materialised_;
  GroupScratch scratch_;                         ///< for the group that runs
  std::vector<std::byte*> workspace_;            ///< per node: its part in the group that runs
  Buffer scratch_memory_;                        ///< shared by all groups
  int scratch_threads_ = 0;                      ///< number of threads that scratch_memory_ is for
  std::vector<std::vector<int64_t>> rows_done_;  ///< per thread: array `done` of run_bands()
  int64_t groups_run_ = 0;
};

}  // namespace sculpt
