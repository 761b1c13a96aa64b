// The ops ReLU, add and flatten.

#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

namespace {

class Relu final : public Node {
 public:
  using Node::Node;
  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().elementwise;
    shape_ = graph.shape(output);
  }
  void forward(const Replay& r) override {
    if (const void* gate = r.held(output))
      // A ReLU with a held pattern is linear, so its value and its gradient are the same map.
      kernels_->relu_backward(r.data(output), r.data(inputs[0]), gate, shape_,
                              kernels::GradWrite::overwrite, r.launch);
    else
      kernels_->relu_forward(r.data(output), r.data(inputs[0]), shape_, r.launch);
  }
  void backward(const Replay& r) override {
    const void* held = r.held(output);
    if (void* dx = r.grad(inputs[0]))
      kernels_->relu_backward(dx, r.grad(output), held != nullptr ? held : r.data(output), shape_,
                              grad_write[0], r.launch);
  }
  bool backward_reads_output() const override { return true; }
  Value gate() const override { return output; }

 private:
  const kernels::ElementwiseKernels* kernels_ = nullptr;
  kernels::ActivationShape shape_;
};

class Add final : public Node {
 public:
  using Node::Node;
  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().elementwise;
    shape_ = graph.shape(output);
  }
  void forward(const Replay& r) override {
    kernels_->add_forward(r.data(output), r.data(inputs[0]), r.data(inputs[1]), shape_, r.launch);
  }
  void backward(const Replay& r) override {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (void* dx = r.grad(inputs[i]))
        kernels_->pass_through(dx, r.grad(output), shape_, grad_write[i], r.launch);
  }

 private:
  const kernels::ElementwiseKernels* kernels_ = nullptr;
  kernels::ActivationShape shape_;
};

class Flatten final : public Node {
 public:
  using Node::Node;
  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().elementwise;
    shape_ = graph.shape(inputs[0]);
  }
  void forward(const Replay& r) override {
    kernels_->flatten_forward(r.data(output), r.data(inputs[0]), shape_, r.launch);
  }
  void backward(const Replay& r) override {
    if (void* dx = r.grad(inputs[0]))
      kernels_->flatten_backward(dx, r.grad(output), shape_, grad_write[0], r.launch);
  }

 private:
  const kernels::ElementwiseKernels* kernels_ = nullptr;
  kernels::ActivationShape shape_;
};

}  // namespace

Value relu(Graph& graph, const std::string& name, Value x) {
  const auto in = graph.shape(x);
  const Value y =
      graph.add(std::make_unique<Relu>(NodeInfo{name, "relu", -1, 0}, std::vector<Value>{x}),
                in.channels, in.height, in.width);
  graph.require_same_halo({x, y});
  return y;
}

Value add(Graph& graph, const std::string& name, Value a, Value b) {
  const auto in = graph.shape(a);
  require_same_shape("add", name, in, graph.shape(b));
  const Value y =
      graph.add(std::make_unique<Add>(NodeInfo{name, "add", -1, 0}, std::vector<Value>{a, b}),
                in.channels, in.height, in.width);
  graph.require_same_halo({a, b, y});
  return y;
}

Value flatten(Graph& graph, const std::string& name, Value x) {
  const auto in = graph.shape(x);
  return graph.add(
      std::make_unique<Flatten>(NodeInfo{name, "flatten", -1, 0}, std::vector<Value>{x}),
      in.elements_per_image(), 1, 1);
}

}  // namespace sculpt::ops
