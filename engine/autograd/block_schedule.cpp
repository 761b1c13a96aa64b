#include "engine/autograd/block_schedule.h"

#include <algorithm>
#include <map>

namespace sculpt {
namespace {

/// Appends steps in order, and begins a new group where one must wait for the whole batch.
class Grouper {
 public:
  explicit Grouper(const std::vector<ScheduledNode>& nodes)
      : nodes_(nodes), reduced_(nodes.size()) {}

  /// The sums of a node, if it needs any.
  void reduce(int node) {
    if (!nodes_[static_cast<size_t>(node)].reduces || reduced_[static_cast<size_t>(node)]) return;
    reduced_[static_cast<size_t>(node)] = true;
    append({node, true});
  }

  void run(int node) {
    reduce(node);
    append({node, false});
  }

  StepGroups take() { return std::move(groups_); }

 private:
  void append(Step step) {
    if (groups_.empty() || !joins(groups_.back(), step)) groups_.emplace_back();
    groups_.back().push_back(step);
  }

  bool joins(const std::vector<Step>& group, Step step) const {
    const bool waits = std::ranges::find(group, Step{step.node, true}) != group.end();
    return on_blocks(step) && on_blocks(group.back()) && !waits;
  }

  bool on_blocks(Step step) const { return nodes_[static_cast<size_t>(step.node)].on_blocks; }

  const std::vector<ScheduledNode>& nodes_;
  std::vector<bool> reduced_;
  StepGroups groups_;
};

}  // namespace

StepGroups forward_groups(const std::vector<ScheduledNode>& nodes) {
  std::multimap<int, int> reducers;  // of a value: nodes that need sums of it
  for (size_t n = 0; n < nodes.size(); ++n)
    if (nodes[n].reduces) reducers.emplace(nodes[n].inputs[0], static_cast<int>(n));

  Grouper groups(nodes);
  for (size_t n = 0; n < nodes.size(); ++n) {
    groups.run(static_cast<int>(n));
    const auto [begin, end] = reducers.equal_range(nodes[n].output);
    for (auto reducer = begin; reducer != end; ++reducer)
      groups.reduce(reducer->second);
  }
  return groups.take();
}

StepGroups backward_groups(const std::vector<ScheduledNode>& nodes) {
  // A gradient is complete when the first consumer of its value has run, backward's last.
  std::map<int, int> first_consumer, producer;
  for (size_t n = 0; n < nodes.size(); ++n) {
    for (const int value : nodes[n].inputs)
      first_consumer.emplace(value, static_cast<int>(n));
    if (nodes[n].output >= 0) producer[nodes[n].output] = static_cast<int>(n);
  }

  Grouper groups(nodes);
  for (int n = static_cast<int>(nodes.size()) - 1; n >= 0; --n) {
    groups.run(n);
    for (const int value : nodes[static_cast<size_t>(n)].inputs)
      if (first_consumer[value] == n && producer.contains(value)) groups.reduce(producer[value]);
  }
  return groups.take();
}

}  // namespace sculpt
