#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

using kernels::Pool2dShape;

namespace {

class Pool : public Node {
 public:
  Pool(NodeInfo node_info, Value x, PoolOptions options) : Node(std::move(node_info), {x}) {
    shape_.kernel = options.kernel;
    shape_.stride = options.stride;
    shape_.padding = options.padding;
  }
  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().pooling;
    shape_.in = graph.shape(inputs[0]);
    shape_.out = graph.shape(output);
  }

 protected:
  Pool2dShape shape_;
  const kernels::PoolingKernels* kernels_ = nullptr;
};

class MaxPool final : public Pool {
 public:
  using Pool::Pool;
  void forward(const Replay& r) override {
    if (const void* held = r.held(inputs[0]))
      kernels_->max_select(r.data(output), r.data(inputs[0]), held, shape_, r.launch);
    else
      kernels_->max_forward(r.data(output), r.data(inputs[0]), shape_, r.launch);
  }
  void backward(const Replay& r) override {
    const void* held = r.held(inputs[0]);
    if (void* dx = r.grad(inputs[0]))
      kernels_->max_backward(dx, r.grad(output), held != nullptr ? held : r.data(inputs[0]), shape_,
                             grad_write[0], r.launch);
  }
  bool backward_reads_input(size_t) const override { return true; }
  Value gate() const override { return inputs[0]; }
};

class AveragePool final : public Pool {
 public:
  using Pool::Pool;
  void forward(const Replay& r) override {
    kernels_->average_forward(r.data(output), r.data(inputs[0]), shape_, r.launch);
  }
  void backward(const Replay& r) override {
    if (void* dx = r.grad(inputs[0]))
      kernels_->average_backward(dx, r.grad(output), shape_, grad_write[0], r.launch);
  }
};

class GlobalAveragePool final : public Pool {
 public:
  using Pool::Pool;
  void forward(const Replay& r) override {
    kernels_->global_average_forward(r.data(output), r.data(inputs[0]), shape_.in, r.launch);
  }
  void backward(const Replay& r) override {
    if (void* dx = r.grad(inputs[0]))
      kernels_->global_average_backward(dx, r.grad(output), shape_.in, grad_write[0], r.launch);
  }
};

template <class PoolNode>
Value record(Graph& graph, const char* op, const std::string& name, Value x, PoolOptions options) {
  const auto in = graph.shape(x);
  if (options.kernel < 1 || options.stride < 1 || options.padding < 0 ||
      options.padding > options.kernel / 2)
    fail("{} '{}': kernel {}, stride {}, padding {} do not fit together", op, name, options.kernel,
         options.stride, options.padding);
  if (std::min(in.height, in.width) + 2 * options.padding < options.kernel)
    fail(
        "{} '{}': input {} is smaller than the window of {}; use larger images or a model with "
        "fewer strides and pooling steps",
        op, name, to_string(in), options.kernel);
  auto out = [&](int64_t size) {
    return kernels::conv2d_output_size(size, options.kernel, options.stride, options.padding);
  };
  return graph.add(std::make_unique<PoolNode>(NodeInfo{name, op, -1, 0}, x, options), in.channels,
                   out(in.height), out(in.width));
}

}  // namespace

Value max_pool(Graph& graph, const std::string& name, Value x, PoolOptions options) {
  return record<MaxPool>(graph, "max_pool", name, x, options);
}

Value average_pool(Graph& graph, const std::string& name, Value x, PoolOptions options) {
  return record<AveragePool>(graph, "average_pool", name, x, options);
}

Value global_average_pool(Graph& graph, const std::string& name, Value x) {
  return graph.add(std::make_unique<GlobalAveragePool>(NodeInfo{name, "global_average_pool", -1, 0},
                                                       x, PoolOptions{}),
                   graph.shape(x).channels, 1, 1);
}

}  // namespace sculpt::ops
