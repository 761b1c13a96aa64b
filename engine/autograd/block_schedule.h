#pragma once
// The order in which a pass runs when blocks of images go through several nodes while they are in
// cache: groups of neighbouring steps, each of which a thread runs block by block.

#include <vector>

namespace sculpt {

/// A node as the schedule sees it.
struct ScheduledNode {
  std::vector<int> inputs;  ///< values
  int output = -1;          ///< value, or none
  bool on_blocks = false;   ///< whether it can run on one block of images at a time
  /// Whether it needs sums over the whole batch first: of input 0 in the forward pass, of the
  /// output's gradient in the backward pass.
  bool reduces = false;
};

/// A pass of one node, or only the sums that it needs.
struct Step {
  int node = 0;
  bool reduce = false;
  bool operator==(const Step&) const = default;
};

/// Steps of a group depend on one another within a block of images only. Nodes that cannot run on
/// blocks are groups of their own. Sums stand right behind the step that completes what they sum.
using StepGroups = std::vector<std::vector<Step>>;

StepGroups forward_groups(const std::vector<ScheduledNode>& nodes);
StepGroups backward_groups(const std::vector<ScheduledNode>& nodes);

}  // namespace sculpt
