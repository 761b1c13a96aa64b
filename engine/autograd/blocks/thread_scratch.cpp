#include "engine/autograd/blocks/thread_scratch.h"

#include <algorithm>

namespace sculpt::schedule {
namespace {

using Groups = std::vector<StepGroup>;

/// Records which groups of one direction use each value. `note` is called group by group.
class GroupUsage {
 public:
  explicit GroupUsage(size_t values) : count_(values), last_(values) {}
  void note(int value, size_t group) {
    const auto v = static_cast<size_t>(value);
    if (count_[v] > 0 && last_[v] == group) return;
    ++count_[v];
    last_[v] = group;
  }
  /// Returns the number of groups that use the value.
  int count(int value) const { return count_[static_cast<size_t>(value)]; }
  /// Returns the group that uses the value, of which there is exactly one.
  size_t only(int value) const { return last_[static_cast<size_t>(value)]; }

 private:
  std::vector<int> count_;
  std::vector<size_t> last_;
};

/// Calls body(group's index, step, node) for each step.
template <class Body>
void for_each_step(const Groups& groups, const Nodes& nodes, const Body& body) {
  for (size_t g = 0; g < groups.size(); ++g)
    for (const Step& step : groups[g].steps)
      body(g, step, node_of(nodes, step));
}

/// Finds gradients that only one group writes and reads.
void find_scratch_gradients(Groups& backward, const Nodes& nodes, size_t values) {
  GroupUsage users(values);
  std::vector<bool> read(values);
  for_each_step(backward, nodes, [&](size_t g, const Step& step, const ScheduledNode& node) {
    if (node.output >= 0) {
      users.note(node.output, g);
      read[static_cast<size_t>(node.output)] = true;
    }
    if (step.work != Work::run) return;
    for (const int value : node.inputs)
      users.note(value, g);
  });
  for (int v = 0; v < static_cast<int>(values); ++v) {
    // A gradient that no node reads is meant for the caller, so it is not put in scratch.
    if (!read[static_cast<size_t>(v)] || users.count(v) != 1) continue;
    StepGroup& user = backward[users.only(v)];
    if (user.steps.size() > 1) user.scratch.push_back({.value = v, .gradient = true});
  }
}

/// Finds outputs that need not be materialised, because one group of the forward pass writes and
/// reads them and the backward pass can recompute them. Such a group has at least two steps, the
/// one that writes the output and the one that reads it, and runs on blocks. So does the group of
/// the backward pass in which the same reader runs.
class ScratchOutputs {
 public:
  ScratchOutputs(BlockSchedule& schedule, const Nodes& nodes, size_t values)
      : schedule_(schedule),
        nodes_(nodes),
        may_be_recomputed_(values),
        forward_users_(values),
        forward_readers_(values),
        backward_readers_(values) {
    for (const ScheduledNode& node : nodes)
      if (node.can_recompute) may_be_recomputed_[static_cast<size_t>(node.output)] = true;
    for_each_step(schedule.forward, nodes, [&](size_t g, const Step& s, const ScheduledNode& node) {
      if (s.work == Work::run && node.output >= 0) forward_users_.note(node.output, g);
      for (const int value : node.inputs) {
        if (!reads_forward(node, s.work, value)) continue;
        forward_users_.note(value, g);
        forward_readers_.note(value, g);
      }
    });
    for_each_step(schedule.backward, nodes, [&](size_t g, const Step&, const ScheduledNode& node) {
      for (const int value : node.backward_reads)
        backward_readers_.note(value, g);
    });
  }

  void find() {
    for (size_t n = 0; n < nodes_.size(); ++n)
      if (recomputable(nodes_[n]) && stays_in_groups(nodes_[n].output))
        leave_in_scratch(nodes_[n].output, static_cast<int>(n));
  }

 private:
  /// Returns true if the output can be recomputed from values that are certainly materialised.
  bool recomputable(const ScheduledNode& node) const {
    return node.can_recompute && std::ranges::none_of(node.backward_reads, [&](int value) {
             return may_be_recomputed_[static_cast<size_t>(value)];
           });
  }

  /// Returns true if one group of the forward pass writes and reads the output, and at most one
  /// group of the backward pass reads it.
  bool stays_in_groups(int output) const {
    return forward_readers_.count(output) == 1 && forward_users_.count(output) == 1 &&
           backward_readers_.count(output) <= 1;
  }

  void leave_in_scratch(int output, int node) {
    schedule_.forward[forward_users_.only(output)].scratch.push_back({.value = output});
    if (backward_readers_.count(output) == 0) return;
    StepGroup& reader = schedule_.backward[backward_readers_.only(output)];
    reader.steps.insert(reader.steps.begin(), {node, Work::recompute});
    reader.scratch.push_back({.value = output});
  }

  BlockSchedule& schedule_;
  const Nodes& nodes_;
  std::vector<bool> may_be_recomputed_;  ///< per value
  GroupUsage forward_users_;             ///< groups that write or read an activation
  GroupUsage forward_readers_, backward_readers_;
};

// Smaller activations are probably still in the last-level cache when the next group reads them.
constexpr int64_t kLeastCopied = int64_t{1} << 20;

/// Decides which values of a group that runs on blocks are copied to memory, bypassing the cache,
/// and which gradients are streamed. Only two kinds of steps can copy: a `sum` step copies the rows
/// that it reads, and the `run` step of a node with sums copies or streams what it writes.
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
      if (summed && !read) {
        // The `sum` step stands directly behind this one, reads the same rows and copies them.
        group.scratch.push_back({.value = value, .copied = true, .band = true});
      } else if (read && node.sums) {
        // Later steps of the group read other rows as well, so scratch holds the whole block.
        group.scratch.push_back({.value = value, .copied = true});
      }
    }
  }

  void add_to_backward(StepGroup& group) const {
    for (const Step& step : group.steps) {
      if (step.work != Work::run) continue;
      const ScheduledNode& node = node_of(nodes_, step);
      for (const int value : node.inputs) {
        if (!large(value) || in_scratch(group, value, true)) continue;
        // A step whose stores bypass the cache must overwrite the gradient, and no other step of
        // the group may use the gradient, except to sum it.
        if (!overwrites(step.node, value) || gradient_used(group, value, step.node)) continue;
        const bool summed = any_step(group, [&](const Step& other, const ScheduledNode& reader) {
          return other.work == Work::sum && reader.output == value;
        });
        if (summed && writers(value) == 1) {
          // The gradient is complete, and the `sum` step behind this one copies its rows.
          group.scratch.push_back({.value = value, .gradient = true, .copied = true, .band = true});
        } else if (!summed && node.sums && value != node.inputs[0]) {
          // No step of this group needs the gradient of the residual.
          group.streamed.push_back(value);
        }
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
  /// Returns true if the node is the first one of the backward pass to write the gradient of the
  /// value. Such a node overwrites the gradient, and later ones add to it.
  bool overwrites(int node, int value) const {
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
  ScratchOutputs(schedule, nodes, values.size()).find();
  const CopyPlanner copies(nodes, values);
  for (StepGroup& group : schedule.forward)
    if (group.steps.size() > 1) copies.add_to_forward(group);
  for (StepGroup& group : schedule.backward)
    if (group.steps.size() > 1) copies.add_to_backward(group);
}

}  // namespace sculpt::schedule
