#include "engine/autograd/blocks/executor.h"

#include <algorithm>

#include "engine/autograd/memory_plan.h"
#include "kernels/common/parallel.h"

namespace sculpt {

using kernels::ActivationShape;
using kernels::RowRange;

BlockExecutor::BlockExecutor(const kernels::Backend& backend, const Nodes& nodes,
                             std::vector<ActivationShape> shapes, int64_t max_batch)
    : backend_(backend),
      nodes_(nodes),
      shapes_(std::move(shapes)),
      producer_(shapes_.size(), -1),
      summed_(nodes.size()),
      materialised_(shapes_.size(), true),
      workspace_(nodes.size()) {
  for (size_t n = 0; n < nodes_.size(); ++n)
    if (const Value output = nodes_[n]->output; output.index >= 0)
      producer_[static_cast<size_t>(output.index)] = static_cast<int>(n);
  const std::vector<ScheduledValue> values = scheduled_values(max_batch);
  schedule_ = schedule_blocks(scheduled_nodes(values), values);
  scratch_.data.resize(shapes_.size());
  scratch_.gradients.resize(shapes_.size());
  scratch_.streamed.resize(shapes_.size());
}

std::vector<ScheduledValue> BlockExecutor::scheduled_values(int64_t max_batch) const {
  const auto cell_bytes = backend_.lanes * static_cast<int64_t>(backend_.activation_bytes);
  std::vector<ScheduledValue> values;
  for (const ActivationShape& shape : shapes_)
    values.push_back({shape.height, kernels::band_rows(shape), shape.block_stride() * cell_bytes,
                      backend_.blocks(max_batch) * shape.block_stride() * cell_bytes});
  return values;
}

std::vector<ScheduledNode> BlockExecutor::scheduled_nodes(
    const std::vector<ScheduledValue>& values) const {
  // A larger block does not stay in cache from node to node.
  constexpr int64_t kMostBytes = int64_t{8} << 20;
  std::vector<ScheduledNode> scheduled;
  for (const auto& node : nodes_) {
    ScheduledNode& to = scheduled.emplace_back();
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      to.inputs.push_back(node->inputs[i].index);
      if (node->backward_reads_input(i)) to.backward_reads.push_back(node->inputs[i].index);
    }
    to.output = node->output.index;
    const BlockPasses* passes = node->block_passes();
    if (passes == nullptr) continue;
    to.on_blocks = values[static_cast<size_t>(to.output)].block_bytes <= kMostBytes;
    if (!to.on_blocks) continue;
    const BlockTraits traits = passes->block_traits();
    to.sums = traits.sums;
    to.can_recompute = traits.can_recompute;
    to.weight_grad = traits.weight_grad;
    to.window = traits.window;
  }
  return scheduled;
}

BlockPasses& BlockExecutor::passes(const Step& step) const {
  return *nodes_[static_cast<size_t>(step.node)]->block_passes();
}

template <class Body>
void BlockExecutor::for_each_scratch_value(const Body& body) {
  int group_number = 0;
  for (auto* groups : {&schedule_.forward, &schedule_.backward})
    for (StepGroup& group : *groups) {
      for (ScratchValue& entry : group.scratch)
        body(entry, group_number);
      ++group_number;
    }
}

/// Plans the scratch memory of all groups. Groups run one after the other, so they share memory for
/// their scratch, which then stays in cache.
void BlockExecutor::plan_scratch(int threads) {
  MemoryPlanner planner;
  for_each_scratch_value([&](const ScratchValue& entry, int group_number) {
    planner.request(shapes_[static_cast<size_t>(entry.value)], Lifetime::at(group_number));
  });
  const size_t cell_bytes = static_cast<size_t>(backend_.lanes) * backend_.activation_bytes;
  const auto offsets = planner.place(threads, cell_bytes);
  auto offset = offsets.begin();
  for_each_scratch_value([&](ScratchValue& entry, int /*group_number*/) {
    const auto guard = shapes_[static_cast<size_t>(entry.value)].guard_cells();
    entry.offset = *offset++ + static_cast<size_t>(guard) * cell_bytes;
  });
  scratch_memory_ = Buffer(planner.total_bytes(), "activations in cache", backend_.memory);
  scratch_threads_ = threads;

  size_t most_steps = 0;
  for (const Direction direction : {Direction::forward, Direction::backward})
    for (const StepGroup& group : groups(direction))
      most_steps = std::max(most_steps, group.steps.size());
  rows_done_.assign(static_cast<size_t>(threads), std::vector<int64_t>(most_steps));
}

bool BlockExecutor::fills_threads(int64_t images) const {
  const int64_t threads = thread_count();
  const int64_t blocks = backend_.blocks(images);
  const int64_t rounds = kernels::ceil_div(blocks, threads);
  return 5 * blocks >= 4 * rounds * threads;
}

template <class Body>
void BlockExecutor::for_each_block(const Replay& batch, const Body& body) const {
  const int64_t lanes = backend_.lanes;
  parallel_for(backend_.blocks(batch.images()), [&](int64_t begin, int64_t end, int thread) {
    Replay block = batch;
    block.position = {.scratch = &scratch_, .thread = thread};
    for (int64_t b = begin; b < end; ++b) {
      block.position.block = b;
      block.launch.batch = std::min(lanes, batch.images() - b * lanes);
      body(block);
    }
  });
}

void BlockExecutor::begin(Direction direction) {
  summed_.assign(nodes_.size(), false);
  if (direction == Direction::forward) materialised_.assign(shapes_.size(), true);
}

bool BlockExecutor::ready(const StepGroup& group, const Replay& batch) const {
  return std::ranges::all_of(group.steps, [&](const Step& step) {
    const BlockPasses* passes = nodes_[static_cast<size_t>(step.node)]->block_passes();
    return passes != nullptr && passes->ready(batch);
  });
}

namespace {

/// Returns the bytes of a node's part of the workspace, such that the next part is aligned.
size_t part_bytes(const BlockPasses& passes, Direction direction) {
  constexpr size_t kAlignment = 64;
  return (passes.block_workspace_bytes(direction) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

size_t BlockExecutor::workspace_bytes() const {
  size_t most = 0;
  for (const Direction direction : {Direction::forward, Direction::backward})
    for (const StepGroup& group : groups(direction)) {
      size_t bytes = 0;
      for (const Step& step : group.steps)
        if (step.work == Work::run && group.steps.size() > 1)
          bytes += part_bytes(passes(step), direction);
      most = std::max(most, bytes);
    }
  return most;
}

void BlockExecutor::place_workspace(Direction direction, const StepGroup& group, void* workspace) {
  std::ranges::fill(workspace_, nullptr);
  auto* part = static_cast<std::byte*>(workspace);
  for (const Step& step : group.steps)
    if (step.work == Work::run) {
      workspace_[static_cast<size_t>(step.node)] = part;
      part += part_bytes(passes(step), direction);
    }
}

Replay BlockExecutor::with_workspace(const Replay& batch, const Step& step) const {
  Replay of_node = batch;
  of_node.memory.workspace = workspace_[static_cast<size_t>(step.node)];
  return of_node;
}

bool BlockExecutor::run(Direction direction, const StepGroup& group, const Replay& batch) {
  if (group.steps.size() == 1 || !ready(group, batch)) return false;
  if (thread_count() > scratch_threads_) plan_scratch(thread_count());
  sum_missing(direction, group, batch);
  place_workspace(direction, group, batch.workspace());
  for (const Step& step : group.steps)
    if (step.work == Work::run) passes(step).begin(direction, with_workspace(batch, step));
  run_rows(direction, group, batch);
  for (const Step& step : group.steps) {
    if (step.work == Work::sum) summed_[static_cast<size_t>(step.node)] = true;
    if (step.work == Work::run) passes(step).end(direction, with_workspace(batch, step));
  }
  if (direction == Direction::forward)
    for (const ScratchValue& entry : group.scratch)
      if (!entry.copied) materialised_[static_cast<size_t>(entry.value)] = false;
  ++groups_run_;
  return true;
}

void BlockExecutor::run_rows(Direction direction, const StepGroup& group, const Replay& batch) {
  struct Placed {
    BlockExecutor& executor;
    const StepGroup& group;
    ~Placed() { executor.forget_scratch(group); }
  };
  const Placed placed{*this, group};
  place_scratch(direction, group);
  for_each_block(batch, [&](Replay& block) {
    std::vector<int64_t>& done = rows_done_[static_cast<size_t>(block.thread())];
    run_bands(
        group.bands, group.rounds, std::span(done.data(), group.steps.size()),
        [&](size_t s, const RowRange& rows) { run_step(direction, group.steps[s], block, rows); });
  });
}

void BlockExecutor::run_step(Direction direction, const Step& step, Replay& block,
                             const RowRange& rows) const {
  block.position.first_row = rows.begin;
  block.memory.workspace = workspace_[static_cast<size_t>(step.node)];
  switch (step.work) {
    case Work::run:
      return passes(step).run(direction, block, rows);
    case Work::sum:
      return passes(step).sum(direction, block, rows);
    case Work::weight_grad:
      return passes(step).weight_grad(block, rows);
    case Work::recompute: {
      const Value output = nodes_[static_cast<size_t>(step.node)]->output;
      if (!materialised_[static_cast<size_t>(output.index)])
        passes(step).run(Direction::forward, block, rows);
    }
  }
}

void BlockExecutor::place_scratch(Direction direction, const StepGroup& group) {
  for (const ScratchValue& entry : group.scratch) {
    const auto v = static_cast<size_t>(entry.value);
    const bool already_materialised =
        direction == Direction::backward && !entry.gradient && materialised_[v];
    if (already_materialised) continue;
    (entry.gradient ? scratch_.gradients : scratch_.data)[v] = {
        scratch_memory_.data() + entry.offset, entry.copied, entry.band};
  }
  for (const int value : group.streamed)
    scratch_.streamed[static_cast<size_t>(value)] = 1;
}

void BlockExecutor::forget_scratch(const StepGroup& group) {
  for (const ScratchValue& entry : group.scratch)
    (entry.gradient ? scratch_.gradients : scratch_.data)[static_cast<size_t>(entry.value)] = {};
  for (const int value : group.streamed)
    scratch_.streamed[static_cast<size_t>(value)] = 0;
}

/// Computes the sums that no earlier group computed together with the value to be summed, because
/// that group did not run on blocks.
void BlockExecutor::sum_missing(Direction direction, const StepGroup& group, const Replay& batch) {
  for (const Step& step : group.steps) {
    const auto node = static_cast<size_t>(step.node);
    if (step.work != Work::run || !passes(step).block_traits().sums || summed_[node]) continue;
    const RowRange rows = all_rows(shapes_[static_cast<size_t>(nodes_[node]->output.index)]);
    for_each_block(batch, [&](const Replay& block) { passes(step).sum(direction, block, rows); });
    summed_[node] = true;
  }
}

void BlockExecutor::recompute_inputs(const Node& node, const Replay& batch) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const auto v = static_cast<size_t>(node.inputs[i].index);
    if (materialised_[v] || !node.backward_reads_input(i)) continue;
    BlockPasses& producer = *nodes_[static_cast<size_t>(producer_[v])]->block_passes();
    for_each_block(batch, [&](const Replay& block) {
      producer.run(Direction::forward, block, all_rows(shapes_[v]));
    });
    materialised_[v] = true;
  }
}

}  // namespace sculpt
