#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

using kernels::LinearShape;

namespace {

class Linear final : public Node {
 public:
  Linear(NodeInfo node_info, Value x, LinearShape shape, ParameterId weight,
         std::optional<ParameterId> bias)
      : Node(std::move(node_info), {x}), shape_(shape), weight_(weight), bias_(bias) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().linear;
    arena_ = &graph.parameters();
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    SCULPT_CHECK(graph.shape(inputs[0]).halo == 0 && graph.shape(output).halo == 0,
                 "linear '{}' cannot read or write a halo", info.name);
  }

  // y [N, out] = x [N, in] w^T [in, out] + bias
  void forward(const Replay& r) override {
    kernels_->forward(r.data(output), r.data(inputs[0]), arena_->compute_weight(weight_),
                      bias_ ? arena_->weight(*bias_) : nullptr, shape_, r.workspace(), r.launch);
  }

  // dw [out, in] = dy^T [out, N] x [N, in];  dx [N, in] = dy [N, out] w [out, in]
  void backward(const Replay& r) override {
    const void* dy = r.grad(output);
    kernels_->weight_grad(arena_->gradient(weight_), bias_ ? arena_->gradient(*bias_) : nullptr, dy,
                          r.data(inputs[0]), shape_, kernels::GradWrite::overwrite, r.workspace(),
                          r.launch);
    if (void* dx = r.grad(inputs[0]))
      kernels_->input_grad(dx, dy, arena_->compute_weight(weight_), shape_, grad_write[0],
                           r.workspace(), r.launch);
  }

  bool backward_reads_input(size_t) const override { return true; }
  size_t workspace_bytes() const override { return workspace_bytes_; }

 private:
  LinearShape shape_;
  ParameterId weight_;
  std::optional<ParameterId> bias_;
  const kernels::LinearKernels* kernels_ = nullptr;
  ParameterArena* arena_ = nullptr;
  size_t workspace_bytes_ = 0;
};

}  // namespace

Value linear(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias) {
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
                                            LinearShape{w[1], w[0]}, weight, bias),
                   w[0], 1, 1);
}

}  // namespace sculpt::ops
