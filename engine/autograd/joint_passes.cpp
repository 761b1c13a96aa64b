#include "engine/autograd/joint_passes.h"

#include <algorithm>
#include <utility>

namespace sculpt {

JointPasses::JointPasses(const Nodes& nodes, const std::vector<bool>& has_backward,
                         std::vector<int> producers)
    : nodes_(nodes),
      has_backward_(has_backward),
      producers_(std::move(producers)),
      deferred_by_(producers_.size(), -1),
      taker_(producers_.size(), -1),
      activations_(producers_.size()),
      activation_of_(producers_.size(), nullptr),
      deferred_(producers_.size()),
      deferred_of_(producers_.size(), nullptr),
      sums_(producers_.size()),
      sums_of_(producers_.size(), nullptr),
      value_summed_by_(nodes.size(), -1) {
  std::vector<int> consumers(producers_.size());
  for (const auto& node : nodes_)
    for (const Value v : node->inputs)
      ++consumers[static_cast<size_t>(v.index)];
  find_deferred_gradients(consumers);
  find_deferred_activations(consumers);
  std::vector<bool> placed(nodes_.size());
  for (int n = static_cast<int>(nodes_.size()) - 1; n >= 0; --n)
    for (int next = n; next >= 0 && !placed[static_cast<size_t>(next)];
         next = taker_of_gradient(next)) {
      placed[static_cast<size_t>(next)] = true;
      order_.push_back(next);
    }
}

void JointPasses::find_deferred_gradients(const std::vector<int>& consumers) {
  for (size_t n = 0; n < nodes_.size(); ++n) {
    if (!has_backward_[n] || !nodes_[n]->can_defer_gradient()) continue;
    const auto v = static_cast<size_t>(nodes_[n]->inputs[0].index);
    const int producer = producers_[v];
    if (producer < 0 || consumers[v] != 1 || !has_backward_[static_cast<size_t>(producer)] ||
        !nodes_[static_cast<size_t>(producer)]->takes_deferred_gradient())
      continue;
    deferred_by_[v] = static_cast<int>(n);
    deferred_of_[v] = &deferred_[v];
    defers_gradients_ = true;
  }
}

void JointPasses::find_deferred_activations(const std::vector<int>& consumers) {
  for (size_t n = 0; n < nodes_.size(); ++n) {
    const Node& node = *nodes_[n];
    if (node.inputs.empty() || node.output.index < 0 || deferred_by(node.output.index) < 0)
      continue;
    const auto v = static_cast<size_t>(node.inputs[0].index);
    const int producer = producers_[v];
    if (producer < 0 || consumers[v] != 1 ||
        !nodes_[static_cast<size_t>(producer)]->can_defer_output())
      continue;
    taker_[v] = static_cast<int>(n);
    activation_of_[v] = &activations_[v];
  }
}

int JointPasses::taker_of_gradient(int node) const {
  const Node& the_node = *nodes_[static_cast<size_t>(node)];
  if (the_node.inputs.empty()) return -1;
  const auto v = static_cast<size_t>(the_node.inputs[0].index);
  return deferred_by_[v] == node ? producers_[v] : -1;
}

void JointPasses::plan_sums(const kernels::DeviceMemory* memory) {
  std::vector<int> last_writer(producers_.size(), -1);
  for (const int n : order_)
    if (has_backward_[static_cast<size_t>(n)])
      for (const Value v : nodes_[static_cast<size_t>(n)]->inputs)
        last_writer[static_cast<size_t>(v.index)] = n;

  constexpr size_t kAlignment = 64;
  std::vector<std::pair<size_t, size_t>> places;  // of values: offset of their sums
  size_t bytes = 0;
  for (size_t v = 0; v < producers_.size(); ++v) {
    const int producer = producers_[v], writer = last_writer[v];
    if (producer < 0 || writer < 0 || !nodes_[static_cast<size_t>(producer)]->takes_gradient_sums())
      continue;
    const Node& node = *nodes_[static_cast<size_t>(writer)];
    const bool is_input_0 = node.inputs[0].index == static_cast<int>(v);
    if (!is_input_0 || node.output.index < 0 || deferred_by(node.output.index) < 0) continue;
    const size_t needed = node.gradient_sums_bytes();
    if (needed == 0) continue;
    value_summed_by_[static_cast<size_t>(writer)] = static_cast<int>(v);
    places.emplace_back(v, bytes);
    bytes += (needed + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (bytes == 0) return;
  sums_memory_ = Buffer(bytes, "sums of gradients", memory);
  for (const auto& [v, offset] : places) {
    sums_[v].partials = reinterpret_cast<double*>(sums_memory_.data() + offset);
    sums_of_[v] = &sums_[v];
  }
}

void JointPasses::begin() {
  for (kernels::GradientSums& sums : sums_)
    sums.chunks = 0;
}

void JointPasses::request_sums(int node, const Replay& replay) {
  const int v = value_summed_by_[static_cast<size_t>(node)];
  if (v < 0) return;
  const int producer = producers_[static_cast<size_t>(v)];
  nodes_[static_cast<size_t>(producer)]->request_gradient_sums(replay,
                                                               sums_[static_cast<size_t>(v)]);
}

}  // namespace sculpt
