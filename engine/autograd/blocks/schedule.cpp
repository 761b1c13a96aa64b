#include "engine/autograd/blocks/schedule.h"

#include <algorithm>
#include <map>

#include "engine/autograd/blocks/step_waits.h"
#include "engine/autograd/blocks/thread_scratch.h"

namespace sculpt {

using schedule::node_of;
using schedule::Nodes;
using schedule::Values;

namespace {

using Groups = std::vector<StepGroup>;

/// Appends steps in order. Begins a new group where a step must wait for the whole batch.
class Grouper {
 public:
  explicit Grouper(const Nodes& nodes) : nodes_(nodes), summed_(nodes.size()) {}

  /// Appends the `sum` step of a node if the node needs sums and has no such step yet.
  void sum(int node) {
    if (!nodes_[static_cast<size_t>(node)].sums || summed_[static_cast<size_t>(node)]) return;
    summed_[static_cast<size_t>(node)] = true;
    append({node, Work::sum});
  }

  void run(int node, bool weight_grad) {
    sum(node);
    if (weight_grad) append({node, Work::weight_grad});
    append({node, Work::run});
  }

  Groups take() { return std::move(groups_); }

 private:
  void append(Step step) {
    if (groups_.empty() || !joins(groups_.back().steps, step)) groups_.emplace_back();
    groups_.back().steps.push_back(step);
  }

  bool joins(const std::vector<Step>& group, Step step) const {
    const bool waits = std::ranges::find(group, Step{step.node, Work::sum}) != group.end();
    return on_blocks(step) && on_blocks(group.back()) && !waits;
  }

  bool on_blocks(Step step) const { return node_of(nodes_, step).on_blocks; }

  const Nodes& nodes_;
  std::vector<bool> summed_;
  Groups groups_;
};

Groups forward_groups(const Nodes& nodes) {
  std::multimap<int, int> summers;  // maps a value to the nodes that need sums of it
  for (size_t n = 0; n < nodes.size(); ++n)
    if (nodes[n].sums) summers.emplace(nodes[n].inputs[0], static_cast<int>(n));

  Grouper groups(nodes);
  for (size_t n = 0; n < nodes.size(); ++n) {
    groups.run(static_cast<int>(n), false);
    const auto [begin, end] = summers.equal_range(nodes[n].output);
    for (auto summer = begin; summer != end; ++summer)
      groups.sum(summer->second);
  }
  return groups.take();
}

Groups backward_groups(const Nodes& nodes) {
  // A gradient is complete when the first consumer of its value has run backward, because the
  // backward pass visits consumers from the last to the first.
  std::map<int, int> first_consumer, producer;
  for (size_t n = 0; n < nodes.size(); ++n) {
    for (const int value : nodes[n].inputs)
      first_consumer.emplace(value, static_cast<int>(n));
    if (nodes[n].output >= 0) producer[nodes[n].output] = static_cast<int>(n);
  }

  Grouper groups(nodes);
  for (int n = static_cast<int>(nodes.size()) - 1; n >= 0; --n) {
    const ScheduledNode& node = nodes[static_cast<size_t>(n)];
    groups.run(n, node.weight_grad);
    for (const int value : node.inputs)
      if (first_consumer[value] == n && producer.contains(value)) groups.sum(producer[value]);
  }
  return groups.take();
}

/// Returns true if the group can run on blocks. Groups of several steps always can.
bool on_blocks(const StepGroup& group, const Nodes& nodes) {
  return node_of(nodes, group.steps.front()).on_blocks;
}

}  // namespace

BlockSchedule schedule_blocks(const Nodes& nodes, const Values& values) {
  BlockSchedule blocks = {forward_groups(nodes), backward_groups(nodes)};
  schedule::find_scratch(blocks, nodes, values);
  for (StepGroup& group : blocks.forward)
    if (on_blocks(group, nodes)) schedule::find_forward_waits(group, nodes, values);
  for (StepGroup& group : blocks.backward)
    if (on_blocks(group, nodes)) schedule::find_backward_waits(group, nodes, values);
  return blocks;
}

}  // namespace sculpt
