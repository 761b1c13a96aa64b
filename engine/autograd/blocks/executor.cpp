// Runs nodes on blocks of images, a few rows at a time.

#include <algorithm>

#include "engine/autograd/graph.h"
#include "engine/autograd/memory_plan.h"
#include "engine/core/phase.h"
#include "kernels/common/parallel.h"

namespace sculpt {

using kernels::ActivationShape;
using kernels::ceil_div;
using kernels::RowRange;

void Graph::plan_schedule() {
  // A larger block does not stay in cache from node to node.
  constexpr int64_t kMostBytes = int64_t{8} << 20;
  const auto cell_bytes = backend_.lanes * static_cast<int64_t>(backend_.activation_bytes);
  std::vector<ScheduledValue> values;
  for (const auto& [shape, producer, needs_grad, halo_group] : values_)
    values.push_back({shape.height, kernels::band_rows(shape), shape.block_stride() * cell_bytes,
                      backend_.blocks(max_batch_) * shape.block_stride() * cell_bytes});

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
    to.sums = passes->sums();
    to.can_recompute = passes->can_recompute();
    to.weight_grad = passes->has_weight_grad();
    to.window = passes->window();
  }
  schedule_ = schedule_blocks(scheduled, values);
  summed_.resize(nodes_.size());
  materialised_.assign(values_.size(), true);
  scratch_data_.resize(values_.size());
  scratch_gradients_.resize(values_.size());
  streamed_.resize(values_.size());
  replay_.scratch_data_ = scratch_data_;
  replay_.scratch_gradients_ = scratch_gradients_;
  replay_.streamed_ = streamed_;
}

/// Plans the scratch memory of all groups. Groups run one after the other, so their scratch can
/// share memory, and this memory then stays in cache.
void Graph::plan_scratch(int threads) {
  const auto for_each_scratch_value = [&](const auto& body) {
    int group_number = 0;
    for (auto* groups : {&schedule_.forward, &schedule_.backward})
      for (StepGroup& group : *groups) {
        for (ScratchValue& entry : group.scratch)
          body(entry, values_[entry.value].shape, group_number);
        ++group_number;
      }
  };
  MemoryPlanner planner;
  for_each_scratch_value([&](const ScratchValue&, const ActivationShape& shape, int group_number) {
    planner.request(shape, Lifetime::at(group_number));
  });
  const size_t cell_bytes = static_cast<size_t>(backend_.lanes) * backend_.activation_bytes;
  const auto offsets = planner.place(threads, cell_bytes);
  auto offset = offsets.begin();
  for_each_scratch_value(
      [&](ScratchValue& entry, const ActivationShape& shape, int /*group_number*/) {
        entry.offset = *offset++ + static_cast<size_t>(shape.guard_cells()) * cell_bytes;
      });
  scratch_memory_ = Buffer(planner.total_bytes(), "activations in cache", backend_.memory);
  scratch_threads_ = threads;
  rows_done_.resize(static_cast<size_t>(threads));
  for (auto& rows : rows_done_)
    for (const auto* groups : {&schedule_.forward, &schedule_.backward})
      for (const StepGroup& group : *groups)
        rows.resize(std::max(rows.size(), group.steps.size()));
}

/// Returns true if the current pass runs on blocks. Profiling needs times per node, so it runs node
/// by node. Threads take whole blocks, so with few blocks too many threads would be idle.
bool Graph::runs_on_blocks() const {
  if (replay_.mode != Mode::train || profiling_ || patterns_) return false;
  const int64_t threads = thread_count();
  const int64_t blocks = backend_.blocks(replay_.images_);
  const int64_t rounds = ceil_div(blocks, threads);
  return 5 * blocks >= 4 * rounds * threads;
}

template <class Body>
void Graph::for_each_block(const Body& body) const {
  const int64_t lanes = backend_.lanes;
  parallel_for(backend_.blocks(replay_.images_), [&](int64_t begin, int64_t end, int thread) {
    Replay block = replay_;
    block.workspace_ = nullptr;  // there is only one workspace, so blocks cannot use it
    block.thread_ = thread;
    for (int64_t b = begin; b < end; ++b) {
      block.block_ = b;
      block.launch.batch = std::min(lanes, replay_.images_ - b * lanes);
      body(block);
    }
  });
}

void Graph::run_groups(Direction direction) {
  summed_.assign(nodes_.size(), false);
  for (const StepGroup& group :
       direction == Direction::forward ? schedule_.forward : schedule_.backward) {
    check_stop();
    if (group.steps.size() > 1 && ready(group)) {
      run_on_blocks(direction, group);
      continue;
    }
    for (const Step& step : group.steps)
      if (step.work == Work::run) run_node(direction, step.node);
  }
}

bool Graph::ready(const StepGroup& group) {
  return std::ranges::all_of(group.steps, [&](const Step& step) {
    BlockPasses* passes = nodes_[step.node]->block_passes();
    return passes != nullptr && passes->ready(replay_);
  });
}

void Graph::run_on_blocks(Direction direction, const StepGroup& group) {
  if (thread_count() > scratch_threads_) plan_scratch(thread_count());
  sum_missing(direction, group);
  for (const Step& step : group.steps)
    if (step.work == Work::run) nodes_[step.node]->block_passes()->begin(direction, replay_);
  run_rows(direction, group);
  for (const Step& step : group.steps) {
    if (step.work == Work::sum) summed_[step.node] = true;
    if (step.work == Work::run) nodes_[step.node]->block_passes()->end(direction, replay_);
  }
  if (direction == Direction::backward)
    for (const Step& step : group.steps)
      if (step.work == Work::run) report_gradients(step.node);
  if (direction == Direction::forward)
    for (const ScratchValue& entry : group.scratch)
      if (!entry.copied) materialised_[entry.value] = false;
  ++groups_on_blocks_;
}

void Graph::run_rows(Direction direction, const StepGroup& group) {
  struct Placed {
    Graph& graph;
    const StepGroup& group;
    ~Placed() { graph.forget_scratch(group); }
  };
  const Placed placed{*this, group};
  place_scratch(direction, group);
  for_each_block([&](Replay& block) {
    const std::span<int64_t> done(rows_done_[block.thread()].data(), group.steps.size());
    run_bands(group.bands, group.rounds, done, [&](size_t s, const RowRange& rows) {
      run_step(direction, group.steps[s], block, rows);
    });
  });
}

void Graph::run_step(Direction direction, const Step& step, Replay& block, const RowRange& rows) {
  block.first_row_ = rows.begin;
  Node& node = *nodes_[step.node];
  BlockPasses& passes = *node.block_passes();
  switch (step.work) {
    case Work::run:
      return passes.run(direction, block, rows);
    case Work::sum:
      return passes.sum(direction, block, rows);
    case Work::weight_grad:
      return passes.weight_grad(block, rows);
    case Work::recompute:
      if (!materialised_[node.output.index]) passes.run(Direction::forward, block, rows);
  }
}

void Graph::place_scratch(Direction direction, const StepGroup& group) {
  for (const ScratchValue& entry : group.scratch) {
    const bool already_materialised =
        direction == Direction::backward && !entry.gradient && materialised_[entry.value];
    if (already_materialised) continue;
    (entry.gradient ? scratch_gradients_ : scratch_data_)[entry.value] = {
        scratch_memory_.data() + entry.offset, entry.copied, entry.band};
  }
  for (const int value : group.streamed)
    streamed_[value] = 1;
}

void Graph::forget_scratch(const StepGroup& group) {
  for (const ScratchValue& entry : group.scratch)
    (entry.gradient ? scratch_gradients_ : scratch_data_)[entry.value] = {};
  for (const int value : group.streamed)
    streamed_[value] = 0;
}

/// Computes the sums that no earlier group computed together with the value to be summed, because
/// that group did not run on blocks.
void Graph::sum_missing(Direction direction, const StepGroup& group) {
  for (const Step& step : group.steps) {
    BlockPasses& passes = *nodes_[step.node]->block_passes();
    if (step.work != Work::run || !passes.sums() || summed_[step.node]) continue;
    const RowRange rows = all_rows(shape(nodes_[step.node]->output));
    for_each_block([&](const Replay& block) { passes.sum(direction, block, rows); });
    summed_[step.node] = true;
  }
}

/// Recomputes the inputs that the forward pass did not materialise, for a node whose backward step
/// runs on the whole batch.
void Graph::recompute_inputs(const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value v = node.inputs[i];
    if (materialised_[v.index] || !node.backward_reads_input(i)) continue;
    BlockPasses& passes = *nodes_[values_[v.index].producer]->block_passes();
    for_each_block(
        [&](const Replay& block) { passes.run(Direction::forward, block, all_rows(shape(v))); });
    materialised_[v.index] = true;
  }
}

}  // namespace sculpt
