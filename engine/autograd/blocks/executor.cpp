// Running nodes on blocks of images, a few rows at a time.

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
  // A block that is larger does not stay in cache from node to node.
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
    to.remakes = passes->remakes();
    to.weight_grad = passes->has_weight_grad();
    to.window = passes->window();
  }
  schedule_ = schedule_blocks(scheduled, values);
  summed_.resize(nodes_.size());
  whole_.assign(values_.size(), true);
  local_data_.resize(values_.size());
  local_grads_.resize(values_.size());
  streamed_.resize(values_.size());
  replay_.local_data_ = local_data_;
  replay_.local_grads_ = local_grads_;
  replay_.streamed_ = streamed_;
}

/// Groups run one after the other, so that they share memory, which then stays in cache.
void Graph::plan_locals(int threads) {
  const auto for_each_local = [&](const auto& body) {
    int group_number = 0;
    for (auto* groups : {&schedule_.forward, &schedule_.backward})
      for (StepGroup& group : *groups) {
        for (LocalValue& local : group.locals)
          body(local, values_[local.value].shape, group_number);
        ++group_number;
      }
  };
  MemoryPlanner planner;
  for_each_local([&](const LocalValue&, const ActivationShape& shape, int group_number) {
    planner.request(shape, Lifetime::at(group_number));
  });
  const size_t cell_bytes = static_cast<size_t>(backend_.lanes) * backend_.activation_bytes;
  const auto offsets = planner.place(threads, cell_bytes);
  auto offset = offsets.begin();
  for_each_local([&](LocalValue& local, const ActivationShape& shape, int /*group_number*/) {
    local.offset = *offset++ + static_cast<size_t>(shape.guard_cells()) * cell_bytes;
  });
  local_memory_ = Buffer(planner.total_bytes(), "activations in cache", backend_.memory);
  local_threads_ = threads;
  rows_done_.resize(static_cast<size_t>(threads));
  for (auto& rows : rows_done_)
    for (const auto* groups : {&schedule_.forward, &schedule_.backward})
      for (const StepGroup& group : *groups)
        rows.resize(std::max(rows.size(), group.steps.size()));
}

/// Profiling wants times of nodes. Threads take whole blocks, so few blocks keep too many waiting.
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
    block.workspace_ = nullptr;  // there is one only
    block.thread_ = thread;
    for (int64_t b = begin; b < end; ++b) {
      block.block_ = b;
      block.launch.batch = std::min(lanes, replay_.images_ - b * lanes);
      body(block);
    }
  });
}

void Graph::run_groups(Pass pass) {
  summed_.assign(nodes_.size(), false);
  for (const StepGroup& group : pass == Pass::forward ? schedule_.forward : schedule_.backward) {
    check_stop();
    if (group.steps.size() > 1 && ready(group)) {
      run_on_blocks(pass, group);
      continue;
    }
    for (const Step& step : group.steps)
      if (step.work == Work::run) run_node(pass, step.node);
  }
}

bool Graph::ready(const StepGroup& group) {
  return std::ranges::all_of(group.steps, [&](const Step& step) {
    BlockPasses* passes = nodes_[step.node]->block_passes();
    return passes != nullptr && passes->ready(replay_);
  });
}

void Graph::run_on_blocks(Pass pass, const StepGroup& group) {
  parameters_.settle();
  if (thread_count() > local_threads_) plan_locals(thread_count());
  sum_missing(pass, group);
  for (const Step& step : group.steps)
    if (step.work == Work::run) nodes_[step.node]->block_passes()->begin(pass, replay_);
  run_rows(pass, group);
  for (const Step& step : group.steps) {
    if (step.work == Work::sum) summed_[step.node] = true;
    if (step.work == Work::run) nodes_[step.node]->block_passes()->end(pass, replay_);
  }
  if (pass == Pass::forward)
    for (const LocalValue& local : group.locals)
      if (!local.copied) whole_[local.value] = false;
  ++groups_on_blocks_;
}

void Graph::run_rows(Pass pass, const StepGroup& group) {
  struct Placed {
    Graph& graph;
    const StepGroup& group;
    ~Placed() { graph.forget_locals(group); }
  };
  const Placed placed{*this, group};
  place_locals(pass, group);
  for_each_block([&](Replay& block) {
    const std::span<int64_t> done(rows_done_[block.thread()].data(), group.steps.size());
    run_bands(group.bands, group.rounds, done,
              [&](size_t s, const RowRange& rows) { run_step(pass, group.steps[s], block, rows); });
  });
}

void Graph::run_step(Pass pass, const Step& step, Replay& block, const RowRange& rows) {
  block.first_row_ = rows.begin;
  Node& node = *nodes_[step.node];
  BlockPasses& passes = *node.block_passes();
  switch (step.work) {
    case Work::run:
      return passes.run(pass, block, rows);
    case Work::sum:
      return passes.sum(pass, block, rows);
    case Work::weight_grad:
      return passes.weight_grad(block, rows);
    case Work::remake:
      if (!whole_[node.output.index]) passes.run(Pass::forward, block, rows);
  }
}

void Graph::place_locals(Pass pass, const StepGroup& group) {
  for (const LocalValue& local : group.locals) {
    const bool already_whole = pass == Pass::backward && !local.gradient && whole_[local.value];
    if (already_whole) continue;
    (local.gradient ? local_grads_ : local_data_)[local.value] = {
        local_memory_.data() + local.offset, local.copied, local.band};
  }
  for (const int value : group.streamed)
    streamed_[value] = 1;
}

void Graph::forget_locals(const StepGroup& group) {
  for (const LocalValue& local : group.locals)
    (local.gradient ? local_grads_ : local_data_)[local.value] = {};
  for (const int value : group.streamed)
    streamed_[value] = 0;
}

/// Sums that could not be made together with what they sum, because that did not run on blocks.
void Graph::sum_missing(Pass pass, const StepGroup& group) {
  for (const Step& step : group.steps) {
    BlockPasses& passes = *nodes_[step.node]->block_passes();
    if (step.work != Work::run || !passes.sums() || summed_[step.node]) continue;
    const RowRange rows = all_rows(shape(nodes_[step.node]->output));
    for_each_block([&](const Replay& block) { passes.sum(pass, block, rows); });
    summed_[step.node] = true;
  }
}

/// What the forward pass did not leave whole, for a node that is to run on the whole batch.
void Graph::remake_inputs(const Node& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value v = node.inputs[i];
    if (whole_[v.index] || !node.backward_reads_input(i)) continue;
    BlockPasses& passes = *nodes_[values_[v.index].producer]->block_passes();
    parameters_.settle();
    for_each_block(
        [&](const Replay& block) { passes.run(Pass::forward, block, all_rows(shape(v))); });
    whole_[v.index] = true;
  }
}

}  // namespace sculpt
