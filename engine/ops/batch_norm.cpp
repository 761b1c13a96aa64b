#include <memory>
#include <utility>

#include "engine/autograd/blocks/block_passes.h"
#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

namespace {

class BatchNorm final : public Node, private BlockPasses {
 public:
  BatchNorm(NodeInfo node_info, std::vector<Value> values, BatchNormParameters parameters,
            kernels::BatchNormOptions options)
      : Node(std::move(node_info), std::move(values)), parameters_(parameters), options_(options) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().batch_norm;
    arena_ = &graph.parameters();
    shape_ = graph.shape(output);
    SCULPT_CHECK(graph.shape(inputs[0]) == shape_, "batch_norm '{}': halos differ", info.name);
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    const size_t bytes = static_cast<size_t>(shape_.channels) * graph.backend().parameter_bytes;
    saved_mean_ = Buffer(bytes, "batch-norm statistics", graph.backend().memory);
    saved_inv_std_ = Buffer(bytes, "batch-norm statistics", graph.backend().memory);
    lanes_ = graph.backend().lanes;
    can_defer_ = graph.backend().conv_norm.backward != nullptr;
    if (can_defer_) {
      own_dgamma_ = Buffer(bytes, "batch-norm sums", graph.backend().memory);
      own_dbeta_ = Buffer(bytes, "batch-norm sums", graph.backend().memory);
    }
    if (kernels_->on_blocks.apply != nullptr)
      sums_ = Buffer(
          static_cast<size_t>(2 * shape_.channels * chunks(graph.max_batch())) * sizeof(double),
          "sums of batch norm on blocks");
  }

  void forward(const Replay& r) override {
    kernels::BatchNormForward args = forward_arguments(r);
    request_running_statistics(args);
    args.gate = r.held(output);
    kernels::DeferredActivation* const deferred = r.deferred_data(output);
    if (deferred != nullptr) args.y = nullptr;
    (r.mode == Mode::train ? kernels_->forward_train : kernels_->forward_eval)(args);
    if (deferred != nullptr) *deferred = {args, r.mode != Mode::train};
  }

  void backward(const Replay& r) override {
    kernels::BatchNormBackward args = backward_arguments(r);
    if (r.mode == Mode::train || r.norm_gradients) request_parameter_gradients(args);
    if (const void* held = r.held(output)) args.y = held;
    if (kernels::DeferredGradient* const deferred = r.deferred_grad(inputs[0]))
      defer(args, r, *deferred);
    else
      run_backward(args, r);
    leave_totals_to_one_process(r);
  }

  bool can_defer_output() const override { return can_defer_ && !has_residual(); }
  bool can_defer_gradient() const override { return can_defer_; }
  bool takes_gradient_sums() const override { return can_defer_ && options_.relu; }
  void request_gradient_sums(const Replay& r, kernels::GradientSums& sums) override {
    sums.x = r.data(inputs[0]);
    sums.mean = saved_mean_.data();
  }
  bool exchanges_sums(const Replay& r) const override {
    return r.mode == Mode::train && r.statistics_of_all() != nullptr;
  }
  Value gate() const override { return options_.relu ? output : Value{}; }

  BlockPasses* block_passes() override {
    return kernels_->on_blocks.apply != nullptr ? this : nullptr;
  }
  BlockTraits block_traits() const override {
    return {.sums = true, .can_recompute = !has_residual()};
  }
  bool ready(const Replay&) const override { return true; }

  void sum(Direction direction, const Replay& block, const kernels::RowRange& rows) override {
    if (direction == Direction::forward)
      kernels_->on_blocks.sum(forward_arguments(block), channel_sums(block), block.block(), rows,
                              block.data_copy(inputs[0]));
    else
      kernels_->on_blocks.sum_grad(backward_arguments(block), channel_sums(block), block.block(),
                                   rows, block.grad_copy(output));
  }

  void begin(Direction direction, const Replay& batch) override {
    if (direction == Direction::forward) {
      kernels::BatchNormForward args = forward_arguments(batch);
      request_running_statistics(args);
      kernels_->on_blocks.finish(args, channel_sums(batch));
    } else {
      kernels::BatchNormBackward args = backward_arguments(batch);
      request_parameter_gradients(args);
      kernels_->on_blocks.finish_grad(args, channel_sums(batch));
    }
  }

  void run(Direction direction, const Replay& block, const kernels::RowRange& rows) override {
    if (direction == Direction::forward) {
      kernels_->on_blocks.apply(forward_arguments(block), rows, block.data_copy(output));
      return;
    }
    kernels::BatchNormBackward args = backward_arguments(block);
    request_parameter_gradients(args);
    kernels_->on_blocks.apply_grad(args, images_of_statistics(block), rows,
                                   args.dresidual != nullptr && block.streams_grad(inputs[1]));
  }

  void end(Direction direction, const Replay& batch) override {
    if (direction == Direction::backward) leave_totals_to_one_process(batch);
  }

  bool backward_reads_input(size_t i) const override { return i == 0; }
  // Without a residual, the backward pass recomputes the ReLU's gate from x, so that it need not
  // read y.
  bool backward_reads_output() const override { return options_.relu && has_residual(); }
  size_t workspace_bytes() const override { return workspace_bytes_; }
  // The statistics of a channel in training need at least two values.
  int64_t least_training_batch() const override { return shape_.height * shape_.width > 1 ? 1 : 2; }
  bool takes_sums(size_t i) const override { return i == 0; }

 private:
  bool has_residual() const { return inputs.size() > 1; }

  void run_backward(const kernels::BatchNormBackward& args, const Replay& r) const {
    (r.mode == Mode::train ? kernels_->backward_train : kernels_->backward_eval)(args);
  }
  /// Computes the sums only, and describes the gradients of the inputs.
  void defer(kernels::BatchNormBackward args, const Replay& r,
             kernels::DeferredGradient& deferred) {
    // The gradients of the inputs depend on the totals, which must survive
    // leave_totals_to_one_process().
    if (exchanges_sums(r) && !r.pass.shared->keeps_totals) {
      args.dgamma = own_dgamma_.data();
      args.dbeta = own_dbeta_.data();
    }
    void* const dresidual = std::exchange(args.dresidual, nullptr);
    run_backward(args, r);
    args.dresidual = dresidual;
    deferred = {args, r.mode != Mode::train};
  }

  // Several threads may call these two functions at the same time. They fill in all members but
  // those that the request functions below add; each kernel ignores the members that it does not
  // read.
  kernels::BatchNormForward forward_arguments(const Replay& r) {
    return {
        .y = r.data(output),
        .x = r.data(inputs[0]),
        .residual = has_residual() ? r.data(inputs[1]) : nullptr,
        .gamma = arena_->weight(parameters_.gamma),
        .beta = arena_->weight(parameters_.beta),
        .saved_mean = saved_mean_.data(),
        .saved_inv_std = saved_inv_std_.data(),
        .sums = r.sums(inputs[0]),
        .shared = r.statistics_of_all(),
        .shape = shape_,
        .options = options_of(r),
        .workspace = r.workspace(),
        .launch = r.launch,
    };
  }
  kernels::BatchNormBackward backward_arguments(const Replay& r) const {
    return {
        .dx = r.grad(inputs[0]),
        .dresidual = has_residual() ? r.grad(inputs[1]) : nullptr,
        .write_dx = grad_write[0],
        .write_dresidual = has_residual() ? grad_write[1] : kernels::GradWrite::overwrite,
        .dy = r.grad(output),
        .x = r.data(inputs[0]),
        // x alone does not determine the ReLU's gate if there is a residual.
        .y = has_residual() ? r.data(output) : nullptr,
        .gamma = arena_->weight(parameters_.gamma),
        .beta = arena_->weight(parameters_.beta),
        .saved_mean = saved_mean_.data(),
        .saved_inv_std = saved_inv_std_.data(),
        .running_mean = arena_->state(parameters_.running_mean),
        .running_var = arena_->state(parameters_.running_var),
        .sums = r.gradient_sums(output),
        .shared = r.statistics_of_all(),
        .shape = shape_,
        .options = options_of(r),
        .workspace = r.workspace(),
        .launch = r.launch,
    };
  }

  // These two functions add pointers for writing to arrays of the arena.
  void request_running_statistics(kernels::BatchNormForward& args) const {
    args.running_mean = arena_->edit_state(parameters_.running_mean);
    args.running_var = arena_->edit_state(parameters_.running_var);
  }
  void request_parameter_gradients(kernels::BatchNormBackward& args) const {
    args.dgamma = arena_->edit_gradient(parameters_.gamma);
    args.dbeta = arena_->edit_gradient(parameters_.beta);
  }

  /// Returns the number of images whose statistics normalise the batch.
  static int64_t images_of_statistics(const Replay& r) {
    return r.statistics_of_all() != nullptr ? r.images_of_all() : r.images();
  }
  /// With statistics of a shared batch, every process has computed the whole gradients of gamma and
  /// beta. They are added up over the processes like all other gradients, so one process keeps
  /// them.
  void leave_totals_to_one_process(const Replay& r) {
    if (!exchanges_sums(r) || r.pass.shared->keeps_totals) return;
    arena_->zero_gradient(parameters_.gamma);
    arena_->zero_gradient(parameters_.beta);
  }

  /// Returns the number of chunks of a channel's sums.
  int64_t chunks(int64_t images) const {
    return kernels::ceil_div(images, lanes_) * kernels::bands_of(shape_);
  }
  /// Returns the sums, which are valid between sum() and begin() of either direction.
  kernels::ChannelSums channel_sums(const Replay& r) {
    return {sums_.as<double>(), chunks(r.images())};
  }

  kernels::BatchNormOptions options_of(const Replay& r) const {
    kernels::BatchNormOptions options = options_;
    options.momentum = r.statistics_momentum.value_or(options_.momentum);
    return options;
  }

  BatchNormParameters parameters_;
  kernels::BatchNormOptions options_;
  kernels::ActivationShape shape_;
  const kernels::BatchNormKernels* kernels_ = nullptr;
  ParameterArena* arena_ = nullptr;
  Buffer saved_mean_, saved_inv_std_, sums_;
  bool can_defer_ = false;
  Buffer own_dgamma_, own_dbeta_;  // totals of a process that leaves them to another process
  int64_t lanes_ = 1;
  size_t workspace_bytes_ = 0;
};

}  // namespace

Value batch_norm(Graph& graph, const std::string& name, Value x, BatchNormParameters parameters,
                 BatchNormOptions options) {
  const auto& in = graph.shape(x);
  if (graph.parameters()[parameters.gamma].count != in.channels)
    fail("batch_norm '{}': {} scales for input {}", name,
         graph.parameters()[parameters.gamma].count, to_string(in));
  std::vector<Value> values = {x};
  if (options.residual) {
    require_same_shape("batch_norm", name, in, graph.shape(*options.residual));
    values.push_back(*options.residual);
  }
  graph.claim(parameters.gamma);
  graph.claim(parameters.beta);
  const Value y =
      graph.add(std::make_unique<BatchNorm>(
                    NodeInfo{name, "batch_norm", -1, 0}, values, parameters,
                    kernels::BatchNormOptions{options.eps, options.momentum, options.relu}),
                in.channels, in.height, in.width);
  graph.require_same_halo(values);
  graph.require_same_halo({x, y});
  return y;
}

}  // namespace sculpt::ops
