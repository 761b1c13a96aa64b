#include "engine/autograd/blocks/thread_scratch.h"

#include <algorithm>

namespace sculpt::schedule {
namespace {

/// Records which groups use each value.
class GroupUsage {
 public:
  explicit GroupUsage(size_t values) : first_(values, kNone), last_(values, kNone) {}
  void note(int value, int group) {
    if (value < 0) return;
    const auto v = static_cast<size_t>(value);
    if (first_[v] == kNone) first_[v] = group;
    last_[v] = group;
  }
  /// Returns the only group that uses the value; kNone if no group or several groups use it.
  int only(int value) const {
    const auto v = static_cast<size_t>(value);
    return first_[v] == last_[v] ? first_[v] : kNone;
  }
  bool any(int value) const { return first_[static_cast<size_t>(value)] != kNone; }

  static constexpr int kNone = -1;

 private:
  std::vector<int> first_, last_;
};

/// Finds gradients that only one group writes and reads.
void find_scratch_gradients(std::vector<StepGroup>& backward, const Nodes& nodes, size_t values) {
  GroupUsage usage(values);
  std::vector<bool> read(values);
  for (size_t g = 0; g < backward.size(); ++g)
    for (const Step& step : backward[g].steps) {
      const ScheduledNode& node = node_of(nodes, step);
      usage.note(node.output, static_cast<int>(g));
      if (node.output >= 0) read[static_cast<size_t>(node.output)] = true;
      if (step.work != Work::run) continue;
      for (const int value : node.inputs)
        usage.note(value, static_cast<int>(g));
    }
  // A gradient that no node reads is meant for the caller, so it is not put in scratch.
  for (size_t v = 0; v < values; ++v) {
    const int group = usage.only(static_cast<int>(v));
    if (read[v] && group != GroupUsage::kNone &&
        backward[static_cast<size_t>(group)].steps.size() > 1)
      backward[static_cast<size_t>(group)].scratch.push_back(
          {.value = static_cast<int>(v), .gradient = true});
  }
}

/// Finds outputs that need not be materialised: only one group of the forward pass uses them, and
/// at most one group of the backward pass, which can recompute them.
void find_scratch_outputs(BlockSchedule& schedule, const Nodes& nodes, size_t values) {
  GroupUsage forward(values), backward(values);
  std::vector<bool> consumed(values);
  for (size_t g = 0; g < schedule.forward.size(); ++g)
    for (const Step& step : schedule.forward[g].steps) {
      const ScheduledNode& node = node_of(nodes, step);
      if (step.work == Work::run) forward.note(node.output, static_cast<int>(g));
      for (const int value : node.inputs) {
        if (step.work == Work::sum && value != node.inputs[0]) continue;
        forward.note(value, static_cast<int>(g));
        consumed[static_cast<size_t>(value)] = true;
      }
    }
  for (size_t g = 0; g < schedule.backward.size(); ++g)
    for (const Step& step : schedule.backward[g].steps)
      for (const int value : node_of(nodes, step).backward_reads)
        backward.note(value, static_cast<int>(g));

  std::vector<bool> may_be_recomputed(values);
  for (const ScheduledNode& node : nodes)
    if (node.can_recompute) may_be_recomputed[static_cast<size_t>(node.output)] = true;

  for (size_t n = 0; n < nodes.size(); ++n) {
    const int value = nodes[n].output;
    if (std::ranges::any_of(nodes[n].backward_reads,
                            [&](int v) { return may_be_recomputed[static_cast<size_t>(v)]; }))
      continue;  // recomputing this output would need an input that may itself be recomputed
    if (!nodes[n].on_blocks || !nodes[n].can_recompute || !consumed[static_cast<size_t>(value)])
      continue;
    const int writer = forward.only(value), reader = backward.only(value);
    if (writer == GroupUsage::kNone || (reader == GroupUsage::kNone && backward.any(value)))
      continue;
    StepGroup& made = schedule.forward[static_cast<size_t>(writer)];
    if (made.steps.size() < 2) continue;
    if (reader != GroupUsage::kNone) {
      StepGroup& read = schedule.backward[static_cast<size_t>(reader)];
      if (!node_of(nodes, read.steps.front()).on_blocks) continue;
      read.steps.insert(read.steps.begin(), {static_cast<int>(n), Work::recompute});
      read.scratch.push_back({.value = value});
    }
    made.scratch.push_back({.value = value});
  }
}

// Smaller activations are probably still in the last-level cache when the next group reads them.
constexpr int64_t kLeastCopied = int64_t{1} << 20;

/// Decides which values of a group that runs on blocks are copied to memory, bypassing the cache,
/// and which gradients are streamed.
class CopyPlanner {
 public:
  CopyPlanner(const Nodes& nodes, const Values& values) : nodes_(nodes), values_(values) {}

  void add_to_forward(StepGroup& group) const {
    for (const Step& step : group.steps) {
      const ScheduledNode& node = node_of(nodes_, step);
      const int value = node.output;
      if (step.work != Work::run || !large(value) || in_scratch(group, value, false)) continue;
      const bool read = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
        return other.work == Work::run && contains(reader.inputs, value);
      });
      const bool summed = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
        return other.work == Work::sum && reader.inputs[0] == value;
      });
      if (summed && !read)
        group.scratch.push_back({.value = value, .copied = true, .band = true});
      else if (read && node.sums)
        group.scratch.push_back({.value = value, .copied = true});
    }
  }

  void add_to_backward(StepGroup& group) const {
    for (const Step& step : group.steps) {
      if (step.work != Work::run) continue;
      const ScheduledNode& node = node_of(nodes_, step);
      for (const int value : node.inputs) {
        if (!large(value) || !first_writer(value, step.node) || in_scratch(group, value, true) ||
            gradient_used(group, value, step.node))
          continue;
        const bool summed = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
          return other.work == Work::sum && reader.output == value;
        });
        if (summed && writers(value) == 1)
          group.scratch.push_back({.value = value, .gradient = true, .copied = true, .band = true});
        else if (!summed && node.sums && value != node.inputs[0])
          group.streamed.push_back(value);
      }
    }
  }

 private:
  /// Returns true if a step of a node other than `writer` reads the gradient of `value` or adds to
  /// it. Steps that compute sums or recompute outputs do not count.
  bool gradient_used(const StepGroup& group, int value, int writer) const {
    return any_step(group, [&](const Step& step, const ScheduledNode& node) {
      if (step.node == writer || step.work == Work::sum || step.work == Work::recompute)
        return false;
      return node.output == value || contains(node.inputs, value);
    });
  }
  bool large(int value) const {
    return value >= 0 && values_[static_cast<size_t>(value)].bytes >= kLeastCopied;
  }
  static bool in_scratch(const StepGroup& group, int value, bool gradient) {
    return std::ranges::any_of(group.scratch, [&](const ScratchValue& entry) {
      return entry.value == value && entry.gradient == gradient;
    });
  }
  template <class Test>
  bool any_step(const StepGroup& group, const Test& test) const {
    return std::ranges::any_of(group.steps,
                               [&](const Step& step) { return test(step, node_of(nodes_, step)); });
  }
  /// Counts the nodes that write the gradient of a value or add to it.
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

}  // namespace

void find_scratch(BlockSchedule& schedule, const Nodes& nodes, const Values& values) {
  find_scratch_gradients(schedule.backward, nodes, values.size());
  find_scratch_outputs(schedule, nodes, values.size());
  const CopyPlanner copies(nodes, values);
  for (StepGroup& group : schedule.forward)
    if (group.steps.size() > 1) copies.add_to_forward(group);
  for (StepGroup& group : schedule.backward)
    if (group.steps.size() > 1) copies.add_to_backward(group);
}

}  // namespace sculpt::schedule
