#include "engine/autograd/activation_patterns.h"

#include "engine/autograd/graph.h"
#include "engine/autograd/memory_plan.h"

namespace sculpt {

ActivationPatterns::ActivationPatterns(const Graph& graph) : kernels_(graph.backend().elementwise) {
  for (const auto& node : graph.nodes()) {
    const Value gate = node->gate();
    if (gate.index < 0) continue;
    const auto index = static_cast<size_t>(gate.index);
    if (index >= gates_.size()) gates_.resize(index + 1);
    if (gates_[index].node == nullptr) gates_[index] = {graph.shape(gate), node.get()};
  }

  // All copies exist at the same time, so they cannot share memory.
  MemoryPlanner planner;
  const int64_t blocks = graph.backend().blocks(graph.max_batch());
  for (const Gate& gate : gates_)
    if (gate.node != nullptr) planner.request(gate.shape, Lifetime::at(0));
  const size_t cell_bytes =
      static_cast<size_t>(graph.backend().lanes) * graph.backend().activation_bytes;
  const auto offsets = planner.place(blocks, cell_bytes);
  memory_ = Buffer(planner.total_bytes(), "activation patterns", graph.backend().memory);

  values_.assign(graph.value_count(), nullptr);
  auto offset = offsets.begin();
  for (size_t v = 0; v < gates_.size(); ++v) {
    if (gates_[v].node == nullptr) continue;
    const auto guard = static_cast<size_t>(gates_[v].shape.guard_cells());
    values_[v] = memory_.data() + *offset++ + guard * cell_bytes;
  }
}

void ActivationPatterns::record(const Node& node, const Replay& replay) {
  const Value gate = node.gate();
  if (gate.index < 0) return;
  const auto index = static_cast<size_t>(gate.index);
  if (gates_[index].node != &node) return;
  kernels_.pass_through(values_[index], replay.data(gate), gates_[index].shape,
                        kernels::GradWrite::overwrite, replay.launch);
}

}  // namespace sculpt
