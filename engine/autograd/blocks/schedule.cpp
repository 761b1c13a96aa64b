#include "engine/autograd/blocks/schedule.h"

#include <algorithm>
#include <map>

#include "engine/autograd/blocks/thread_scratch.h"

namespace sculpt {

using schedule::contains;
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

/// Computes for each step of a group what it waits for.
class Bands {
 public:
  Bands(const Nodes& nodes, const Values& values) : nodes_(nodes), values_(values) {}

  void add_to(StepGroup& group, bool forward) const {
    int64_t bytes = 0, rounds = 1;
    for (size_t s = 0; s < group.steps.size(); ++s) {
      const Step& step = group.steps[s];
      const ScheduledNode& node = node_of(nodes_, step);
      if (!node.on_blocks) return;
      const ScheduledValue& value = values_[static_cast<size_t>(counted_value(step, forward))];
      BandStep& band = group.bands.emplace_back();
      band.rows = value.rows;
      band.multiple = value.band;
      if (!forward && step.work == Work::run) band.multiple *= node.window.stride;
      bytes = std::max(bytes, value.block_bytes);
      rounds = std::max(rounds, kernels::ceil_div(value.rows, value.band));
      for (size_t before = 0; before < s; ++before)
        forward ? wait_forward(band, group.steps, before, step)
                : wait_backward(band, group.steps, before, step);
    }
    group.rounds = std::clamp<int64_t>(kernels::ceil_div(bytes, kRoundBytes), 1, rounds);
  }

 private:
  using Dependency = BandStep::Wait::Dependency;

  // One round goes through this many bytes of the largest activation of a group. The rows that
  // windows hold back and the other activations of the group then also fit a cache of 1 MiB.
  static constexpr int64_t kRoundBytes = int64_t{256} << 10;

  /// Returns the value whose rows a step counts.
  int counted_value(const Step& step, bool forward) const {
    const ScheduledNode& node = node_of(nodes_, step);
    const bool of_input = forward ? step.work == Work::sum : step.work == Work::run;
    return of_input ? node.inputs[0] : node.output;
  }

  void wait_forward(BandStep& band, const std::vector<Step>& steps, size_t before,
                    const Step& step) const {
    const ScheduledNode& node = node_of(nodes_, step);
    if (steps[before].work != Work::run) return;
    const int made = node_of(nodes_, steps[before]).output;
    if (step.work == Work::sum ? node.inputs[0] == made : contains(node.inputs, made))
      band.waits.push_back({static_cast<int>(before),
                            step.work == Work::sum ? Dependency::same_row : Dependency::window,
                            node.window});
  }

  void wait_backward(BandStep& band, const std::vector<Step>& steps, size_t before,
                     const Step& step) const {
    const ScheduledNode& node = node_of(nodes_, step);
    const ScheduledNode& other = node_of(nodes_, steps[before]);
    const auto wait = [&](Dependency dependency) {
      band.waits.push_back({static_cast<int>(before), dependency, node.window});
    };
    if (step.work == Work::recompute) return;
    if (steps[before].work == Work::recompute) {
      // An output is recomputed for the step that reads the inputs.
      const bool reader = node.weight_grad ? step.work == Work::weight_grad : true;
      if (reader && contains(node.backward_reads, other.output))
        wait(node.weight_grad ? Dependency::window : Dependency::same_row);
    } else if (steps[before].work == Work::run) {
      if (contains(other.inputs, node.output))
        wait(step.work == Work::run ? Dependency::transpose : Dependency::same_row);
      // The first step to run writes the gradient of a shared input; later steps add to it.
      const bool both_write =
          step.work == Work::run && std::ranges::any_of(node.inputs, [&](int value) {
            return contains(other.inputs, value);
          });
      if (both_write) wait(Dependency::same_row);
    }
  }

  const Nodes& nodes_;
  const Values& values_;
};

}  // namespace

BlockSchedule schedule_blocks(const Nodes& nodes, const Values& values) {
  BlockSchedule blocks = {forward_groups(nodes), backward_groups(nodes)};
  schedule::find_scratch(blocks, nodes, values);
  const Bands bands(nodes, values);
  for (StepGroup& group : blocks.forward)
    bands.add_to(group, true);
  for (StepGroup& group : blocks.backward)
    bands.add_to(group, false);
  return blocks;
}

}  // namespace sculpt
