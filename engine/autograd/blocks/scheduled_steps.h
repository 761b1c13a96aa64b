#pragma once
// Look-ups that the parts of schedule_blocks() share.

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
/// Returns true if a step of the forward pass reads the value.
inline bool reads_forward(const ScheduledNode& node, Work work, int value) {
  return work == Work::sum ? node.inputs[0] == value : contains(node.inputs, value);
}

}  // namespace sculpt::schedule
