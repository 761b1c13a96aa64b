#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"
#include "engine/ops/weighted_node.h"

namespace sculpt::ops {

using kernels::LinearShape;

namespace {

class Linear final : public WeightedNode {
 public:
  Linear(NodeInfo node_info, Value x, LinearShape shape, ParameterId weight,
         std::optional<ParameterId> bias, const KernelSettings& settings)
      : WeightedNode(std::move(node_info), x, weight, bias, settings), shape_(shape) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().linear;
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    SCULPT_CHECK(graph.shape(inputs[0]).halo == 0 && graph.shape(output).halo == 0,
                 "linear '{}' cannot read or write a halo", info.name);
    kernels::Conv2dShape one_pixel;
    one_pixel.in = graph.shape(inputs[0]);
    one_pixel.out = graph.shape(output);
    prepare_sparse(graph, one_pixel);
  }
  size_t workspace_bytes() const override { return workspace_bytes_; }

 private:
  // y [N, out] = x [N, in] w^T [in, out] + bias
  void dense_forward(const Replay& r) override {
    kernels_->forward({.y = r.data(output),
                       .x = r.data(inputs[0]),
                       .weight = dense_weight(),
                       .bias = bias(),
                       .workspace = r.workspace(),
                       .launch = r.launch},
                      shape_);
  }
  // dx [N, in] = dy [N, out] w [out, in]
  void dense_input_grad(const Replay& r) override {
    kernels_->input_grad({.dx = r.grad(inputs[0]),
                          .write = grad_write[0],
                          .dy = r.grad(output),
                          .weight = dense_weight(),
                          .workspace = r.workspace(),
                          .launch = r.launch},
                         shape_);
  }
  // dw [out, in] = dy^T [out, N] x [N, in]
  void dense_weight_grad(const Replay& r, void* dweight) override {
    kernels_->weight_grad({.dweight = dweight,
                           .dbias = bias_gradient(),
                           .dy = r.grad(output),
                           .x = r.data(inputs[0]),
                           .workspace = r.workspace(),
                           .launch = r.launch},
                          shape_);
  }

  LinearShape shape_;
  const kernels::LinearKernels* kernels_ = nullptr;
  size_t workspace_bytes_ = 0;
};

}  // namespace

Value linear(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias, const KernelSettings& kernel_settings) {
  const auto& in = graph.shape(x);
  const auto& w = graph.parameters()[weight].shape;
  require_feature_vector("linear", name, in);
  SCULPT_CHECK(w.size() == 2, "linear '{}': the weight must be [out, in]", name);
  if (w[1] != in.channels)
    fail("linear '{}': input has {} features, weight [{}, {}] needs {}", name, in.channels, w[0],
         w[1], w[1]);
  graph.claim(weight);
  if (bias) graph.claim(*bias);
  return graph.add(std::make_unique<Linear>(NodeInfo{name, "linear", weight, w[0] * w[1]}, x,
                                            LinearShape{w[1], w[0]}, weight, bias, kernel_settings),
                   w[0], 1, 1);
}

}  // namespace sculpt::ops
