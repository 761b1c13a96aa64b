#include "engine/autograd/blocks/step_waits.h"

#include <algorithm>

namespace sculpt::schedule {
namespace {

using Dependency = BandStep::Wait::Dependency;

// A round takes this many bytes of the largest activation through a group. The rows that windows
// hold back and the other activations of the group then also fit a cache of 1 MiB.
constexpr int64_t kRoundBytes = int64_t{256} << 10;

/// A step together with its node.
struct Member {
  Work work;
  const ScheduledNode& node;
};

// A later step of a group waits for an earlier step if it reads something that the earlier step
// writes. The steps write:
//
//   forward    run           the output
//              sum           nothing that a step of the group reads
//   backward   recompute     the output
//              run           the gradients of the inputs
//              sum           nothing that a step of the group reads
//              weight_grad   nothing that a step of the group reads
//
// The rows of a step (BandStep::rows) are the rows of one value, which is an input or the output of
// its node. "Row r" in the dependencies below means row r of that value.

/// The rows of a step of the forward direction are those of the value that the step writes or sums.
struct Forward {
  static int counted_value(const Member& step) {
    return step.work == Work::sum ? step.node.inputs[0] : step.node.output;
  }
  static int64_t stride(const Member& /*step*/) { return 1; }

  static std::vector<Dependency> dependencies(const Member& step, const Member& earlier) {
    if (earlier.work != Work::run) return {};
    if (!reads_forward(step.node, step.work, earlier.node.output)) return {};
    return {step.work == Work::sum ? Dependency::same_row : Dependency::window};
  }
};

/// The rows of a `run` step of the backward direction are those of the inputs, whose gradients the
/// step writes. The rows of all other steps are those of the output or of its gradient.
struct Backward {
  static int counted_value(const Member& step) {
    return step.work == Work::run ? step.node.inputs[0] : step.node.output;
  }
  static int64_t stride(const Member& step) {
    return step.work == Work::run ? step.node.window.stride : 1;
  }

  static std::vector<Dependency> dependencies(const Member& step, const Member& earlier) {
    // A recompute step reads values that lie in memory.
    if (step.work == Work::recompute) return {};
    if (earlier.work == Work::recompute) return on_output(step, earlier.node.output);
    if (earlier.work == Work::run) return on_gradients(step, earlier.node.inputs);
    return {};
  }

 private:
  /// The earlier step writes an output that the step may read as an input.
  static std::vector<Dependency> on_output(const Member& step, int output) {
    if (!contains(step.node.backward_reads, output)) return {};
    if (!step.node.weight_grad) return {Dependency::same_row};
    // The node has two steps, of which only weight_grad reads the inputs. For each row of the
    // output's gradient, weight_grad reads the input rows in the window of that row.
    if (step.work == Work::weight_grad) return {Dependency::window};
    return {};
  }

  /// The earlier step writes these gradients.
  static std::vector<Dependency> on_gradients(const Member& step, const std::vector<int>& written) {
    std::vector<Dependency> dependencies;
    const bool runs = step.work == Work::run;
    // Every step reads the gradient of the output, and only a `run` step counts the rows of another
    // value.
    if (contains(written, step.node.output))
      dependencies.push_back(runs ? Dependency::transpose : Dependency::same_row);
    // The first step that writes the gradient of a shared input overwrites it, and later steps add
    // to it.
    const bool adds = runs && std::ranges::any_of(step.node.inputs, [&](int value) {
                        return contains(written, value);
                      });
    if (adds) dependencies.push_back(Dependency::same_row);
    return dependencies;
  }
};

template <class Pass>
void find_waits(StepGroup& group, const Nodes& nodes, const Values& values) {
  std::vector<Member> members;
  int64_t bytes = 0, most_bands = 1;
  for (const Step& step : group.steps) {
    const Member member = {step.work, node_of(nodes, step)};
    const ScheduledValue& value = values[static_cast<size_t>(Pass::counted_value(member))];
    BandStep& band = group.bands.emplace_back();
    band.rows = value.rows;
    band.multiple = value.band * Pass::stride(member);
    for (size_t e = 0; e < members.size(); ++e)
      for (const Dependency dependency : Pass::dependencies(member, members[e]))
        band.waits.push_back({static_cast<int>(e), dependency, member.node.window});
    bytes = std::max(bytes, value.block_bytes);
    most_bands = std::max(most_bands, kernels::ceil_div(value.rows, value.band));
    members.push_back(member);
  }
  group.rounds = std::clamp<int64_t>(kernels::ceil_div(bytes, kRoundBytes), 1, most_bands);
}

}  // namespace

void find_forward_waits(StepGroup& group, const Nodes& nodes, const Values& values) {
  find_waits<Forward>(group, nodes, values);
}

void find_backward_waits(StepGroup& group, const Nodes& nodes, const Values& values) {
  find_waits<Backward>(group, nodes, values);
}

}  // namespace sculpt::schedule
