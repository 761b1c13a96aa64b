#include "engine/autograd/block_schedule.h"

#include <algorithm>
#include <map>

namespace sculpt {
namespace {

using Nodes = std::vector<ScheduledNode>;
using Values = std::vector<ScheduledValue>;
using Groups = std::vector<StepGroup>;

const ScheduledNode& node_of(const Nodes& nodes, const Step& step) {
  return nodes[static_cast<size_t>(step.node)];
}

/// Appends steps in order, and begins a new group where one must wait for the whole batch.
class Grouper {
 public:
  explicit Grouper(const Nodes& nodes) : nodes_(nodes), summed_(nodes.size()) {}

  /// The sums of a node, if it needs any.
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
  std::multimap<int, int> summers;  // of a value: nodes that need sums of it
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
  // A gradient is complete when the first consumer of its value has run, backward's last.
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

/// Notes in which groups something is used.
class Users {
 public:
  explicit Users(size_t values) : first_(values, kNone), last_(values, kNone) {}
  void note(int value, int group) {
    if (value < 0) return;
    const auto v = static_cast<size_t>(value);
    if (first_[v] == kNone) first_[v] = group;
    last_[v] = group;
  }
  /// The only group that uses it, or kNone.
  int only(int value) const {
    const auto v = static_cast<size_t>(value);
    return first_[v] == last_[v] ? first_[v] : kNone;
  }
  bool any(int value) const { return first_[static_cast<size_t>(value)] != kNone; }

  static constexpr int kNone = -1;

 private:
  std::vector<int> first_, last_;
};

/// Gradients that only one group writes and reads.
void find_local_grads(Groups& backward, const Nodes& nodes, size_t values) {
  Users users(values);
  std::vector<bool> read(values);
  for (size_t g = 0; g < backward.size(); ++g)
    for (const Step& step : backward[g].steps) {
      const ScheduledNode& node = node_of(nodes, step);
      users.note(node.output, static_cast<int>(g));
      if (node.output >= 0) read[static_cast<size_t>(node.output)] = true;
      if (step.work != Work::run) continue;
      for (const int value : node.inputs)
        users.note(value, static_cast<int>(g));
    }
  // What no node reads is meant for the outside.
  for (size_t v = 0; v < values; ++v) {
    const int group = users.only(static_cast<int>(v));
    if (read[v] && group != Users::kNone && backward[static_cast<size_t>(group)].steps.size() > 1)
      backward[static_cast<size_t>(group)].locals.push_back(
          {.value = static_cast<int>(v), .gradient = true});
  }
}

/// Outputs that only one group of the forward pass uses, and then none or one of the backward pass,
/// which can make them again.
void find_local_data(BlockSchedule& schedule, const Nodes& nodes, size_t values) {
  Users forward(values), backward(values);
  std::vector<bool> consumed(values);
  for (size_t g = 0; g < schedule.forward.size(); ++g)
    for (const Step& step : schedule.forward[g].steps) {
      const ScheduledNode& node = node_of(nodes, step);
      if (step.work == Work::run) forward.note(node.output, static_cast<int>(g));
      for (const int value : node.inputs) {
        forward.note(value, static_cast<int>(g));
        consumed[static_cast<size_t>(value)] = true;
      }
    }
  for (size_t g = 0; g < schedule.backward.size(); ++g)
    for (const Step& step : schedule.backward[g].steps)
      for (const int value : node_of(nodes, step).backward_reads)
        backward.note(value, static_cast<int>(g));

  std::vector<bool> may_be_remade(values);
  for (const ScheduledNode& node : nodes)
    if (node.remakes) may_be_remade[static_cast<size_t>(node.output)] = true;

  for (size_t n = 0; n < nodes.size(); ++n) {
    const int value = nodes[n].output;
    if (std::ranges::any_of(nodes[n].backward_reads,
                            [&](int v) { return may_be_remade[static_cast<size_t>(v)]; }))
      continue;  // one remake would need another
    if (!nodes[n].on_blocks || !nodes[n].remakes || !consumed[static_cast<size_t>(value)]) continue;
    const int writer = forward.only(value), reader = backward.only(value);
    if (writer == Users::kNone || (reader == Users::kNone && backward.any(value))) continue;
    StepGroup& made = schedule.forward[static_cast<size_t>(writer)];
    if (made.steps.size() < 2) continue;
    if (reader != Users::kNone) {
      StepGroup& read = schedule.backward[static_cast<size_t>(reader)];
      if (!node_of(nodes, read.steps.front()).on_blocks) continue;
      read.steps.insert(read.steps.begin(), {static_cast<int>(n), Work::remake});
      read.locals.push_back({.value = value});
      schedule.remade.push_back(value);
    }
    made.locals.push_back({.value = value});
  }
}

// Smaller activations are likely to be in the last cache still when the next group reads them.
constexpr int64_t kLeastCopied = int64_t{1} << 20;

bool contains(const std::vector<int>& values, int value) {
  return std::ranges::find(values, value) != values.end();
}

/// Of a group that runs on blocks.
class Copies {
 public:
  Copies(const Nodes& nodes, const Values& values) : nodes_(nodes), values_(values) {}

  void add_to_forward(StepGroup& group) const {
    for (const Step& step : group.steps) {
      const ScheduledNode& node = node_of(nodes_, step);
      if (step.work != Work::run || !large(node.output) || is_local(group, node.output, false))
        continue;
      const bool read = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
        return other.work == Work::run && contains(reader.inputs, node.output);
      });
      const bool summed = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
        return other.work == Work::sum && reader.inputs[0] == node.output;
      });
      if (summed && !read)
        group.locals.push_back({.value = node.output, .copied = true, .band = true});
      else if (read && node.sums)
        group.locals.push_back({.value = node.output, .copied = true});
    }
  }

  void add_to_backward(StepGroup& group) const {
    for (const Step& step : group.steps) {
      if (step.work != Work::run) continue;
      const ScheduledNode& node = node_of(nodes_, step);
      for (const int value : node.inputs) {
        if (!large(value) || !first_writer(value, step.node)) continue;
        if (is_local(group, value, true)) continue;
        const bool used = any_step(group, [&](const Step& other, const ScheduledNode& user) {
          return other.node != step.node && other.work != Work::remake &&
                 (other.work != Work::sum &&
                  (user.output == value || contains(user.inputs, value)));
        });
        const bool summed = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
          return other.work == Work::sum && reader.output == value;
        });
        if (used) continue;
        if (summed && writers(value) == 1)
          group.locals.push_back({.value = value, .gradient = true, .copied = true, .band = true});
        else if (!summed && node.sums)
          group.streamed.push_back(value);
      }
    }
  }

 private:
  bool large(int value) const {
    return value >= 0 && values_[static_cast<size_t>(value)].bytes >= kLeastCopied;
  }
  static bool is_local(const StepGroup& group, int value, bool gradient) {
    return std::ranges::any_of(group.locals, [&](const LocalValue& local) {
      return local.value == value && local.gradient == gradient;
    });
  }
  template <class Test>
  bool any_step(const StepGroup& group, const Test& test) const {
    return std::ranges::any_of(group.steps,
                               [&](const Step& step) { return test(step, node_of(nodes_, step)); });
  }
  /// Nodes that write or add to the gradient of a value.
  int64_t writers(int value) const {
    return std::ranges::count_if(
        nodes_, [&](const ScheduledNode& node) { return contains(node.inputs, value); });
  }
  bool first_writer(int value, int node) const {
    for (size_t n = static_cast<size_t>(node) + 1; n < nodes_.size(); ++n)
      if (contains(nodes_[n].inputs, value)) return false;
    return true;
  }

  const Nodes& nodes_;
  const Values& values_;
};

/// What the steps of a group wait for.
class Bands {
 public:
  Bands(const Nodes& nodes, const Values& values) : nodes_(nodes), values_(values) {}

  void add_to(StepGroup& group, bool forward) const {
    int64_t bytes = 0, rounds = 1;
    for (size_t s = 0; s < group.steps.size(); ++s) {
      const Step& step = group.steps[s];
      const ScheduledNode& node = node_of(nodes_, step);
      if (!node.on_blocks) return;
      const ScheduledValue& value = values_[static_cast<size_t>(rows_of(step, forward))];
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
  using Through = BandStep::Wait::Through;

  // Of the largest activation of a group, what one round goes through: with the rows that windows
  // hold back and the other activations, some fit a cache of 1 MiB.
  static constexpr int64_t kRoundBytes = int64_t{256} << 10;

  /// The value whose rows a step counts.
  int rows_of(const Step& step, bool forward) const {
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
                            step.work == Work::sum ? Through::same_row : Through::window,
                            node.window});
  }

  void wait_backward(BandStep& band, const std::vector<Step>& steps, size_t before,
                     const Step& step) const {
    const ScheduledNode& node = node_of(nodes_, step);
    const ScheduledNode& other = node_of(nodes_, steps[before]);
    const auto wait = [&](Through through) {
      band.waits.push_back({static_cast<int>(before), through, node.window});
    };
    if (step.work == Work::remake) return;
    if (steps[before].work == Work::remake) {
      // Made again for whoever reads inputs.
      const bool reader = node.weight_grad ? step.work == Work::weight_grad : true;
      if (reader && contains(node.backward_reads, other.output))
        wait(node.weight_grad ? Through::window : Through::same_row);
    } else if (steps[before].work == Work::run) {
      if (contains(other.inputs, node.output))
        wait(step.work == Work::run ? Through::transpose : Through::same_row);
      // One writes the gradient of a value, the next ones add to it.
      const bool both_write =
          step.work == Work::run && std::ranges::any_of(node.inputs, [&](int value) {
            return contains(other.inputs, value);
          });
      if (both_write) wait(Through::same_row);
    }
  }

  const Nodes& nodes_;
  const Values& values_;
};

}  // namespace

BlockSchedule schedule_blocks(const Nodes& nodes, const Values& values) {
  BlockSchedule schedule = {forward_groups(nodes), backward_groups(nodes), {}};
  find_local_grads(schedule.backward, nodes, values.size());
  find_local_data(schedule, nodes, values.size());
  const Copies copies(nodes, values);
  const Bands bands(nodes, values);
  for (StepGroup& group : schedule.forward) {
    if (group.steps.size() > 1) copies.add_to_forward(group);
    bands.add_to(group, true);
  }
  for (StepGroup& group : schedule.backward) {
    if (group.steps.size() > 1) copies.add_to_backward(group);
    bands.add_to(group, false);
  }
  return schedule;
}

}  // namespace sculpt
