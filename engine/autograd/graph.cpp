#include "engine/autograd/graph.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "kernels/common/parallel.h"

namespace sculpt {

using kernels::ActivationShape;
using kernels::ceil_div;
using kernels::GradWrite;

Value Graph::input(int64_t channels, int64_t height, int64_t width, bool needs_grad) {
  SCULPT_CHECK(!finished_, "the graph is finished");
  values_.push_back({ActivationShape{channels, height, width, 0}, -1, needs_grad});
  return {static_cast<int>(values_.size()) - 1};
}

Value Graph::add(std::unique_ptr<Node> node, int64_t channels, int64_t height, int64_t width) {
  SCULPT_CHECK(!finished_, "the graph is finished");
  const int index = static_cast<int>(nodes_.size());
  parameters_of_.push_back(std::exchange(next_parameters_, {}));
  has_backward_.push_back(
      !parameters_of_.back().empty() ||
      std::ranges::any_of(node->inputs, [&](Value v) { return needs_grad(v); }));
  if (channels > 0) {
    values_.push_back({ActivationShape{channels, height, width, 0}, index, has_backward_.back()});
    node->output = {static_cast<int>(values_.size()) - 1};
  }
  nodes_.push_back(std::move(node));
  return nodes_.back()->output;
}

void Graph::require_halo(Value v, int64_t halo) {
  if (backend_.layout == kernels::Layout::nhwc) return;
  auto& current = values_[v.index].shape.halo;
  current = std::max(current, halo);
}

// Union-find without ranks, because groups are short chains of elementwise ops.
int Graph::halo_group(int value) {
  while (values_[value].halo_group >= 0)
    value = values_[value].halo_group;
  return value;
}

void Graph::require_same_halo(const std::vector<Value>& values) {
  const int root = halo_group(values.front().index);
  for (const Value v : values) {
    const int other = halo_group(v.index);
    if (other != root) values_[other].halo_group = root;
  }
}

void Graph::settle_halos() {
  const int count = static_cast<int>(values_.size());
  for (int v = 0; v < count; ++v)
    require_halo({halo_group(v)}, values_[v].shape.halo);
  for (int v = 0; v < count; ++v)
    values_[v].shape.halo = values_[halo_group(v)].shape.halo;
}

void Graph::claim(ParameterId id) {
  if (claimed_.size() <= static_cast<size_t>(id)) claimed_.resize(id + 1);
  if (claimed_[id])
    fail("parameter '{}' is used by two layers; sharing weights is not supported",
         parameters_[id].name);
  claimed_[id] = true;
  next_parameters_.push_back(id);
}

void Graph::finish() {
  SCULPT_CHECK(!finished_, "the graph is finished already");
  SCULPT_CHECK(!nodes_.empty(), "the graph has no ops");
  SCULPT_CHECK(next_parameters_.empty(), "a parameter was claimed after its node had been added");
  finished_ = true;
  settle_halos();
  size_t workspace = 0;
  for (auto& node : nodes_) {
    node->prepare(*this);
    workspace = std::max(workspace, node->workspace_bytes());
  }
  replay_.launch.stream = backend_.stream;
  step_ = DeviceValue<uint64_t>("the step's number", backend_.memory);
  replay_.step = step_.data();
  plan_joint_passes();
  choose_grad_writes();
  plan_blocks();
  workspace = std::max(workspace, blocks_->workspace_bytes());
  workspace_ = Buffer(workspace, "the kernels' workspace", backend_.memory);
  replay_.memory.workspace = workspace_.data();
  plan_memory();
  plan_sums();
  joint_->plan_sums(backend_.memory);
  replay_.memory.deferred_grad = joint_->gradients();
  replay_.memory.gradient_sums = joint_->sums();
}

namespace {

/// The times at which nodes run in the memory plan. All nodes of a group run at the same time, so
/// the values that a group uses never share memory. Where gradients are deferred, each node is a
/// group, and the order in which the nodes run backward is that of JointPasses.
class NodeTimes {
 public:
  NodeTimes(const BlockExecutor& blocks, const JointPasses& joint, size_t nodes)
      : forward_(number_groups(blocks.groups(Direction::forward), nodes)),
        backward_(joint.defers_gradients()
                      ? number_nodes(joint.order())
                      : number_groups(blocks.groups(Direction::backward), nodes)) {}

  /// The producer of an input is node -1, which runs with the first group.
  int forward(int node) const { return node < 0 ? 0 : forward_[static_cast<size_t>(node)]; }
  /// Node -1 runs backward after the last group, at end().
  int backward(int node) const { return node < 0 ? end() : backward_[static_cast<size_t>(node)]; }
  int end() const { return end_; }

 private:
  /// Numbers the groups on from end_, and returns the number of each node's group.
  std::vector<int> number_groups(const std::vector<StepGroup>& groups, size_t nodes) {
    std::vector<int> times(nodes);
    for (const StepGroup& group : groups) {
      for (const Step& step : group.steps)
        if (step.work == Work::run) times[static_cast<size_t>(step.node)] = end_;
      ++end_;
    }
    return times;
  }

  std::vector<int> number_nodes(std::span<const int> order) {
    std::vector<int> times(order.size());
    for (const int node : order)
      times[static_cast<size_t>(node)] = end_++;
    return times;
  }

  int end_ = 0;  // declared first, because the other members count it up
  std::vector<int> forward_, backward_;
};

}  // namespace

void Graph::plan_joint_passes() {
  std::vector<int> producers;
  for (const ValueRecord& value : values_)
    producers.push_back(value.producer);
  joint_.emplace(nodes_, has_backward_, std::move(producers));
}

void Graph::plan_blocks() {
  std::vector<ActivationShape> shapes;
  for (const ValueRecord& value : values_)
    shapes.push_back(value.shape);
  blocks_.emplace(backend_, nodes_, std::move(shapes), max_batch_);
}

// The first node of the backward pass that writes a gradient overwrites it; the other nodes add to
// it.
void Graph::choose_grad_writes() {
  std::vector<bool> written(values_.size());
  for (const int n : joint_->order()) {
    Node& node = *nodes_[n];
    node.grad_write.assign(node.inputs.size(), GradWrite::overwrite);
    if (!has_backward_[n]) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int v = node.inputs[i].index;
      if (!values_[v].needs_grad) continue;
      if (written[v]) node.grad_write[i] = GradWrite::accumulate;
      written[v] = true;
    }
  }
}

/// Finds the times at which each value and its gradient are first written and last read.
Graph::Lifetimes Graph::find_lifetimes() const {
  const NodeTimes times(*blocks_, *joint_, nodes_.size());
  std::vector<Lifetime> data, grad(values_.size());
  for (const ValueRecord& value : values_) {
    data.push_back(Lifetime::at(times.forward(value.producer)));
    // A loaded input stays in memory, because a batch may be replayed.
    if (value.producer < 0) data.back().extend(times.end());
  }
  for (int n = static_cast<int>(nodes_.size()) - 1; n >= 0; --n) {
    const Node& node = *nodes_[n];
    // If a node defers a gradient, the node that takes the gradient also reads what the first node
    // reads.
    const int taker = joint_->taker_of_gradient(n);
    const int last_read = times.backward(taker >= 0 ? taker : n);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int v = node.inputs[i].index;
      data[v].extend(times.forward(n));
      // If a node defers its output, the node that takes the output also reads these inputs.
      if (node.output.index >= 0) {
        const int reader = joint_->taker_of_activation(node.output.index);
        if (reader >= 0) data[v].extend(times.forward(reader));
        if (reader >= 0) data[v].extend(times.backward(reader));
      }
      if (!has_backward_[n]) continue;
      if (node.backward_reads_input(i)) data[v].extend(last_read);
      if (!values_[v].needs_grad || joint_->deferred_by(v) == n) continue;
      if (grad[v].empty()) grad[v] = Lifetime::at(times.backward(n));
      grad[v].extend(times.backward(n));
      // The gradient of an input of the graph stays readable after the last backward step.
      grad[v].extend(times.backward(values_[v].producer));
    }
    if (node.output.index < 0 || !has_backward_[n]) continue;
    if (node.backward_reads_output()) data[node.output.index].extend(last_read);
    if (!grad[node.output.index].empty()) grad[node.output.index].extend(last_read);
  }
  return {std::move(data), std::move(grad)};
}

void Graph::plan_memory() {
  const Lifetimes lifetimes = find_lifetimes();
  MemoryPlanner planner;
  std::vector<int> data_slot(values_.size(), -1), grad_slot(values_.size(), -1);
  for (size_t v = 0; v < values_.size(); ++v) {
    data_slot[v] = planner.request(values_[v].shape, lifetimes.data[v]);
    if (!lifetimes.grad[v].empty())
      grad_slot[v] = planner.request(values_[v].shape, lifetimes.grad[v]);
  }
  const size_t cell_bytes = static_cast<size_t>(backend_.lanes) * backend_.activation_bytes;
  const auto offsets = planner.place(backend_.blocks(max_batch_), cell_bytes);
  memory_ = Buffer(planner.total_bytes(), "activations and their gradients", backend_.memory);

  auto pointer = [&](size_t v, int request) -> void* {
    if (request < 0) return nullptr;
    return memory_.data() + offsets[request] +
           static_cast<size_t>(values_[v].shape.guard_cells()) * cell_bytes;
  };
  for (size_t v = 0; v < values_.size(); ++v) {
    data_.push_back(pointer(v, data_slot[v]));
    grad_.push_back(pointer(v, grad_slot[v]));
    block_bytes_.push_back(values_[v].shape.block_stride() * static_cast<int64_t>(cell_bytes));
    row_bytes_.push_back(values_[v].shape.row_stride() * static_cast<int64_t>(cell_bytes));
  }
  replay_.memory.data = data_;
  replay_.memory.grad = grad_;
  replay_.memory.block_bytes = block_bytes_;
  replay_.memory.row_bytes = row_bytes_;
}

// Plans the memory of channel sums. They live from the producer of a value to the last node that
// uses them.
void Graph::plan_sums() {
  std::vector<int> last_taker(values_.size(), -1);
  for (size_t n = 0; n < nodes_.size(); ++n)
    for (size_t i = 0; i < nodes_[n]->inputs.size(); ++i)
      if (nodes_[n]->takes_sums(i)) last_taker[nodes_[n]->inputs[i].index] = static_cast<int>(n);

  constexpr int64_t kUnit = 64;
  MemoryPlanner planner;
  std::vector<int> slot(values_.size(), -1);
  for (size_t v = 0; v < values_.size(); ++v) {
    const int producer = values_[v].producer;
    if (producer < 0 || last_taker[v] < 0) continue;
    const auto bytes = static_cast<int64_t>(nodes_[producer]->output_sums_bytes());
    if (bytes == 0) continue;
    slot[v] = planner.request({ceil_div(bytes, kUnit), 1, 1, 0}, {producer, last_taker[v]});
  }
  const auto offsets = planner.place(1, kUnit);
  sums_memory_ = Buffer(planner.total_bytes(), "sums of channels", backend_.memory);

  sums_.resize(values_.size());
  sums_of_.assign(values_.size(), nullptr);
  replay_.memory.sums = sums_of_;
  for (size_t v = 0; v < values_.size(); ++v) {
    if (slot[v] < 0) continue;
    sums_[v].partials = reinterpret_cast<double*>(sums_memory_.data() + offsets[slot[v]]);
    sums_of_[v] = &sums_[v];
  }
}

void Graph::set_profiling(bool on) {
  profiling_ = on;
  profile_.assign(nodes_.size(), {});
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

void Graph::follow_masks() {
  follow_masks(/*may_overwrite=*/true);
}

void Graph::follow_masks(bool may_overwrite) {
  // More threads also require new workspace, because nodes allocate workspace per thread.
  if (parameters_.pattern() != pattern_ || thread_count() > mask_threads_)
    choose_kernels(may_overwrite);
  parameters_.store_packed(kept_only_);
  parameters_.update_compute_copy();
}

void Graph::choose_kernels(bool may_overwrite) {
  pattern_ = nullptr;         // after an interruption, the next pass chooses again
  parameters_.store_dense();  // nodes that time their kernels expect whole weights
  parameters_.update_compute_copy();
  std::vector<ParameterId> kept_only;
  Phase phase("choosing the layers' kernels", static_cast<int64_t>(nodes_.size()));
  for (auto& node : nodes_) {
    if (node->follow_mask(replay_, may_overwrite)) kept_only.push_back(node->info.weight);
    phase.advance();
  }
  std::ranges::sort(kept_only);
  kept_only_ = std::move(kept_only);
  pattern_ = parameters_.pattern();
  mask_threads_ = thread_count();
}

void Graph::forward(Mode mode, const PassImages& pass) {
  SCULPT_CHECK(finished_, "finish() comes before forward()");
  const int64_t batch = pass.images;
  SCULPT_CHECK(batch >= (pass.shared != nullptr ? 0 : 1) && batch <= max_batch_,
               "batch of {} in a graph made for {}", batch, max_batch_);
  const bool held = !replay_.memory.held.empty();
  // A process without images runs no convolutions, which would leave new sums.
  for (kernels::ChannelSums& sums : sums_)
    sums.chunks = 0;
  // Patterns are recorded from activations in memory.
  replay_.memory.deferred_data = {};
  if (!patterns_) replay_.memory.deferred_data = joint_->activations();
  SCULPT_CHECK(!held || batch == images_recorded_,
               "a batch of {}, but the patterns held are those of {} images", batch,
               images_recorded_.value_or(0));
  follow_masks();
  replay_.mode = mode;
  replay_.launch.batch = batch;
  replay_.pass = pass;
  blocks_->begin(Direction::forward);
  const kernels::TraceRange phase(backend_.trace, "forward");
  if (runs_on_blocks()) return run_groups(Direction::forward);
  for (size_t n = 0; n < nodes_.size(); ++n) {
    if (batch == 0) {
      run_without_images(Direction::forward, static_cast<int>(n));
      continue;
    }
    run_node(Direction::forward, static_cast<int>(n));
    if (patterns_ && !held) patterns_->record(*nodes_[n], replay_);
  }
  if (patterns_) images_recorded_ = batch;
}

void Graph::record_patterns() {
  if (!patterns_) patterns_.emplace(*this);
  replay_.memory.held = {};
  images_recorded_.reset();
}

void Graph::hold_patterns() {
  SCULPT_CHECK(patterns_ && images_recorded_, "patterns are recorded before they are held");
  replay_.memory.held = patterns_->values();
}

void Graph::release_patterns() {
  replay_.memory.held = {};
  patterns_.reset();
  images_recorded_.reset();
}

void Graph::backward() {
  run_backward(static_cast<int>(nodes_.size()) - 1);
}

void Graph::backward_from(Value v) {
  for (int deferred = 0; deferred < static_cast<int>(values_.size()); ++deferred)
    SCULPT_CHECK(joint_->deferred_by(deferred) <= values_[v.index].producer ||
                     values_[deferred].producer > values_[v.index].producer,
                 "the backward pass would start between two nodes that run jointly");
  run_backward(values_[v.index].producer);
}

void Graph::run_backward(int last_node) {
  SCULPT_CHECK(replay_.mode != Mode::eval, "backward() after a forward pass in evaluation mode");
  // Host code may have asked for the dense layout since the forward pass, so the nodes follow the
  // masks again. The activations of the forward pass are still needed.
  follow_masks(/*may_overwrite=*/false);
  parameters_.allocate_gradients();
  parameters_.full_gradients().begin_backward();
  blocks_->begin(Direction::backward);
  joint_->begin();
  const kernels::TraceRange phase(backend_.trace, "backward");
  const bool all = last_node == static_cast<int>(nodes_.size()) - 1;
  if (replay_.images() == 0) {
    parameters_.zero_gradients();
    for (const int n : joint_->order())
      if (n <= last_node) run_without_images(Direction::backward, n);
  } else if (all && !joint_->defers_gradients() && runs_on_blocks()) {
    run_groups(Direction::backward);
  } else {
    for (const int n : joint_->order())
      if (n <= last_node) run_node(Direction::backward, n);
  }
  parameters_.full_gradients().end_backward();
}

/// Returns true if the current pass runs on blocks. Profiling needs times per node, so it runs node
/// by node.
bool Graph::runs_on_blocks() const {
  if (replay_.mode != Mode::train || profiling_ || patterns_ || replay_.images() == 0) return false;
  return blocks_->fills_threads(replay_.images());
}

void Graph::run_groups(Direction direction) {
  for (const StepGroup& group : blocks_->groups(direction)) {
    check_stop();
    const bool on_blocks = blocks_->run(direction, group, replay_);
    for (const Step& step : group.steps) {
      if (step.work != Work::run) continue;
      if (!on_blocks)
        run_node(direction, step.node);
      else if (direction == Direction::backward)
        report_gradients(step.node);
    }
  }
}

void Graph::run_node(Direction direction, int node) {
  check_stop();
  if (direction == Direction::backward && !has_backward_[node]) return;
  const auto start = profiling_ ? Clock::now() : Clock::time_point{};
  Node& the_node = *nodes_[node];
  const kernels::TraceRange range(backend_.trace, the_node.info.name.c_str());
  if (direction == Direction::backward) {
    blocks_->recompute_inputs(the_node, replay_);
    joint_->request_sums(node, replay_);
  }
  direction == Direction::forward ? the_node.forward(replay_) : the_node.backward(replay_);
  if (direction == Direction::backward) report_joint_gradients(node);
  if (!profiling_) return;
  NodeTime& time = profile_[node];
  (direction == Direction::forward ? time.forward : time.backward) += seconds_since(start);
}

/// Takes part in what a node exchanges with other processes.
void Graph::run_without_images(Direction direction, int node) {
  Node& the_node = *nodes_[node];
  if (direction == Direction::backward && !has_backward_[node]) return;
  if (the_node.exchanges_sums(replay_))
    direction == Direction::forward ? the_node.forward(replay_) : the_node.backward(replay_);
  if (direction == Direction::backward) report_joint_gradients(node);
}

/// Reports the gradients of a node. A node that defers a gradient is reported when the node that
/// takes the gradient has run, because that node reads the gradients of the first node's
/// parameters.
void Graph::report_joint_gradients(int node) const {
  if (joint_->taker_of_gradient(node) >= 0) return;
  const int output = nodes_[node]->output.index;
  if (output >= 0 && joint_->deferred_by(output) >= 0)
    report_gradients(joint_->deferred_by(output));
  report_gradients(node);
}

void Graph::report_gradients(int node) const {
  if (!gradient_observer_) return;
  for (const ParameterId id : parameters_of_[node])
    gradient_observer_(id);
}

}  // namespace sculpt
