#include <memory>

#include "engine/core/random.h"
#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

namespace {

class Dropout final : public Node {
 public:
  Dropout(NodeInfo node_info, Value x, float rate, uint64_t salt)
      : Node(std::move(node_info), {x}), rate_(rate), salt_(salt) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().elementwise;
    shape_ = graph.shape(output);
  }

  void forward(const Replay& r) override {
    if (drops(r))
      kernels_->dropout_forward(r.data(output), r.data(inputs[0]), shape_, draw(r), r.launch);
    else
      kernels_->pass_through(r.data(output), r.data(inputs[0]), shape_,
                             kernels::GradWrite::overwrite, r.launch);
  }

  // The mask is not stored but drawn again, because the same (seed, step) gives the same mask.
  void backward(const Replay& r) override {
    void* dx = r.grad(inputs[0]);
    if (!dx) return;
    if (drops(r))
      kernels_->dropout_backward(dx, r.grad(output), shape_, draw(r), grad_write[0], r.launch);
    else
      kernels_->pass_through(dx, r.grad(output), shape_, grad_write[0], r.launch);
  }

 private:
  static bool drops(const Replay& r) { return r.mode == Mode::train && r.dropout; }
  kernels::DropoutDraw draw(const Replay& r) const {
    const uint64_t run_key = RandomStream(r.seed, Purpose::dropout).key();
    return {RandomStream(run_key + salt_, Purpose::dropout).key(), r.step, rate_,
            r.pass.first_image};
  }

  float rate_;
  uint64_t salt_;
  const kernels::ElementwiseKernels* kernels_ = nullptr;
  kernels::ActivationShape shape_;
};

}  // namespace

Value dropout(Graph& graph, const std::string& name, Value x, float rate, uint64_t salt) {
  if (!(rate >= 0 && rate < 1)) fail("dropout '{}': rate {} is not in [0, 1)", name, rate);
  const auto in = graph.shape(x);
  const Value y =
      graph.add(std::make_unique<Dropout>(NodeInfo{name, "dropout", -1, 0}, x, rate, salt),
                in.channels, in.height, in.width);
  graph.require_same_halo({x, y});
  return y;
}

}  // namespace sculpt::ops
