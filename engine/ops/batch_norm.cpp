#include <memory>

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
    elementwise_ = &graph.backend().elementwise;
    arena_ = &graph.parameters();
    shape_ = graph.shape(output);
    SCULPT_CHECK(graph.shape(inputs[0]) == shape_, "batch_norm '{}': halos differ", info.name);
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    const size_t bytes = static_cast<size_t>(shape_.channels) * graph.backend().parameter_bytes;
    saved_mean_ = Buffer(bytes, "batch-norm statistics", graph.backend().memory);
    saved_inv_std_ = Buffer(bytes, "batch-norm statistics", graph.backend().memory);
    lanes_ = graph.backend().lanes;
    if (kernels_->on_blocks.apply != nullptr)
      sums_ = Buffer(
          static_cast<size_t>(2 * shape_.channels * chunks(graph.max_batch())) * sizeof(double),
          "sums of batch norm on blocks");
  }

  void forward(const Replay& r) override {
    const void* held = r.held(output);
    void* y = held != nullptr ? r.gate_scratch() : r.data(output);
    const kernels::BatchNormOptions options = options_of(r);
    const void* x = r.data(inputs[0]);
    const void* gamma = arena_->weight(parameters_.gamma);
    const void* beta = arena_->weight(parameters_.beta);
    void* mean = arena_->state(parameters_.running_mean);
    void* var = arena_->state(parameters_.running_var);
    if (r.mode == Mode::train)
      kernels_->forward_train(y, saved_mean_.data(), saved_inv_std_.data(), mean, var, x,
                              r.sums(inputs[0]), residual(r), gamma, beta, shape_, options,
                              r.workspace(), r.launch);
    else
      kernels_->forward_eval(y, x, residual(r), gamma, beta, mean, var, shape_, options, r.launch);
    if (held != nullptr)
      elementwise_->relu_backward(r.data(output), y, held, shape_, kernels::GradWrite::overwrite,
                                  r.launch);
  }

  void backward(const Replay& r) override {
    void* dresidual = has_residual() ? r.grad(inputs[1]) : nullptr;
    const auto write_residual = has_residual() ? grad_write[1] : kernels::GradWrite::overwrite;
    void* dgamma = arena_->gradient(parameters_.gamma);
    void* dbeta = arena_->gradient(parameters_.beta);
    const void* gamma = arena_->weight(parameters_.gamma);
    const void* beta = arena_->weight(parameters_.beta);
    const kernels::BatchNormOptions options = options_of(r);
    const void* dy = r.grad(output);
    if (const void* held = r.held(output)) {
      elementwise_->relu_backward(r.gate_scratch(), dy, held, shape_, kernels::GradWrite::overwrite,
                                  r.launch);
      dy = r.gate_scratch();
    }
    if (r.mode == Mode::train)
      kernels_->backward_train(r.grad(inputs[0]), grad_write[0], dresidual, write_residual, dgamma,
                               dbeta, dy, r.data(inputs[0]), relu_output(r), saved_mean_.data(),
                               saved_inv_std_.data(), gamma, beta, shape_, options, r.workspace(),
                               r.launch);
    else
      kernels_->backward_eval(r.grad(inputs[0]), grad_write[0], dresidual, write_residual, dgamma,
                              dbeta, dy, r.data(inputs[0]), relu_output(r),
                              arena_->state(parameters_.running_mean),
                              arena_->state(parameters_.running_var), gamma, beta, shape_, options,
                              r.workspace(), r.launch);
  }
  Value gate() const override { return options_.relu ? output : Value{}; }

  BlockPasses* block_passes() override {
    return kernels_->on_blocks.apply != nullptr ? this : nullptr;
  }
  bool ready(const Replay&) override { return true; }
  bool sums() const override { return true; }
  bool can_recompute() const override { return !has_residual(); }

  void sum(Direction direction, const Replay& block, const kernels::RowRange& rows) override {
    const void* x = block.data(inputs[0]);
    if (direction == Direction::forward)
      kernels_->on_blocks.sum(channel_sums(block), block.block(), x, block.data_copy(inputs[0]),
                              shape_, rows, block.launch);
    else
      kernels_->on_blocks.sum_grad(
          channel_sums(block), block.block(), block.grad(output), block.grad_copy(output), x,
          relu_output(block), saved_mean_.data(), saved_inv_std_.data(),
          arena_->weight(parameters_.gamma), arena_->weight(parameters_.beta), shape_, options_,
          rows, block.launch);
  }

  void begin(Direction direction, const Replay& batch) override {
    if (direction == Direction::forward)
      kernels_->on_blocks.finish(saved_mean_.data(), saved_inv_std_.data(),
                                 arena_->state(parameters_.running_mean),
                                 arena_->state(parameters_.running_var), channel_sums(batch),
                                 batch.images(), shape_, options_of(batch));
    else
      kernels_->on_blocks.finish_grad(arena_->gradient(parameters_.gamma),
                                      arena_->gradient(parameters_.beta), channel_sums(batch),
                                      saved_inv_std_.data(), shape_);
  }

  void run(Direction direction, const Replay& block, const kernels::RowRange& rows) override {
    const void* x = block.data(inputs[0]);
    const void* gamma = arena_->weight(parameters_.gamma);
    const void* beta = arena_->weight(parameters_.beta);
    if (direction == Direction::forward)
      return kernels_->on_blocks.apply(block.data(output), block.data_copy(output), x,
                                       residual(block), saved_mean_.data(), saved_inv_std_.data(),
                                       gamma, beta, shape_, options_, rows, block.launch);
    void* dresidual = has_residual() ? block.grad(inputs[1]) : nullptr;
    const auto write_residual = has_residual() ? grad_write[1] : kernels::GradWrite::overwrite;
    kernels_->on_blocks.apply_grad(
        block.grad(inputs[0]), grad_write[0], dresidual, write_residual,
        dresidual != nullptr && block.streams_grad(inputs[1]), arena_->gradient(parameters_.gamma),
        arena_->gradient(parameters_.beta), block.grad(output), x, relu_output(block),
        saved_mean_.data(), saved_inv_std_.data(), gamma, beta, block.images(), shape_, options_,
        rows, block.launch);
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
  const void* residual(const Replay& r) const {
    return has_residual() ? r.data(inputs[1]) : nullptr;
  }

  /// The number of chunks of a channel's sums.
  int64_t chunks(int64_t images) const {
    return kernels::ceil_div(images, lanes_) * kernels::bands_of(shape_);
  }
  /// The sums, which are valid between sum() and begin() of either direction.
  kernels::ChannelSums channel_sums(const Replay& r) {
    return {sums_.as<double>(), chunks(r.images())};
  }

  /// Returns the layer's options. While the pattern of the ReLU is held, the ReLU is left out,
  /// because the gate is then applied separately.
  kernels::BatchNormOptions options_of(const Replay& r) const {
    kernels::BatchNormOptions options = options_;
    options.momentum = r.statistics_momentum.value_or(options_.momentum);
    if (r.held(output) != nullptr) options.relu = false;
    return options;
  }

  // Returns the output if the backward kernels need it to find the ReLU's gate, which x alone does
  // not determine if there is a residual.
  const void* relu_output(const Replay& r) const {
    return has_residual() ? r.data(output) : nullptr;
  }

  BatchNormParameters parameters_;
  kernels::BatchNormOptions options_;
  kernels::ActivationShape shape_;
  const kernels::BatchNormKernels* kernels_ = nullptr;
  const kernels::ElementwiseKernels* elementwise_ = nullptr;
  ParameterArena* arena_ = nullptr;
  Buffer saved_mean_, saved_inv_std_, sums_;
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
