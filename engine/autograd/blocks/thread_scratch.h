#pragma once
// The part of schedule_blocks() that decides which activations and gradients live in the threads'
// scratch memory while a group runs.

#include <algorithm>
#include <vector>

#include "engine/autograd/blocks/schedule.h"

namespace sculpt::schedule {

using Nodes = std::vector<ScheduledNode>;
using Values = std::vector<ScheduledValue>;

inline const ScheduledNode& node_of(const Nodes& nodes, const Step& step) {
  return nodes[static_cast<size_t>(step.node)];
}
inline bool contains(const std::vector<int>& values, int value) {
  return std::ranges::find(values, value) != values.end();
}

/// Fills StepGroup::scratch and StepGroup::streamed. Where a group reads an activation that the
/// forward pass does not materialise, also puts a Work::recompute step in front of the group.
void find_scratch(BlockSchedule& schedule, const Nodes& nodes, const Values& values);

}  // namespace sculpt::schedule
