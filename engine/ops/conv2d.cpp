#include <algorithm>
#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"
#include "engine/ops/weighted_node.h"

namespace sculpt::ops {

using kernels::Conv2dShape;

namespace {

class Conv2d final : public WeightedNode {
 public:
  Conv2d(NodeInfo node_info, Value x, Conv2dShape shape, ParameterId weight,
         std::optional<ParameterId> bias, const KernelSettings& settings)
      : WeightedNode(std::move(node_info), x, weight, bias, settings), shape_(shape) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().conv2d;
    shape_.in = graph.shape(inputs[0]);
    shape_.out = graph.shape(output);
    prepare_sparse(graph, shape_);
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    prepare_winograd(graph);
    if (kernels_->output_sums_bytes != nullptr && !winograd_pays_)
      sums_bytes_ = kernels_->output_sums_bytes(shape_, graph.max_batch());
    joint_ = &graph.backend().conv_norm;
    joint_fits_ = joint_->backward != nullptr && !has_bias() && joint_->fits(shape_);
    if (joint_fits_) gradient_sums_bytes_ = joint_->sums_bytes(shape_, graph.max_batch());
  }
  size_t workspace_bytes() const override { return workspace_bytes_; }
  const Conv2dShape& shape() const { return shape_; }
  size_t output_sums_bytes() const override { return sums_bytes_; }
  bool takes_deferred_gradient() const override { return joint_fits_; }
  size_t gradient_sums_bytes() const override { return gradient_sums_bytes_; }

 private:
  void dense_forward(const Replay& r) override {
    if (const kernels::DeferredActivation* x = r.deferred_data(inputs[0]))
      return joint_->forward({.y = r.data(output),
                              .x = x,
                              .weight = dense_weight(),
                              .sums = r.sums(output),
                              .launch = r.launch},
                             shape_);
    const kernels::ConvForward args = {.y = r.data(output),
                                       .x = r.data(inputs[0]),
                                       .weight = dense_weight(),
                                       .bias = bias(),
                                       .sums = r.sums(output),
                                       .workspace = r.workspace(),
                                       .launch = r.launch};
    const bool winograd = by_winograd(r.launch.batch);
    (winograd ? winograd_->forward : kernels_->forward)(args, shape_);
  }
  void dense_input_grad(const Replay& r) override {
    const kernels::ConvInputGrad args = {.dx = r.grad(inputs[0]),
                                         .write = grad_write[0],
                                         .dy = r.grad(output),
                                         .weight = dense_weight(),
                                         .workspace = r.workspace(),
                                         .launch = r.launch};
    const bool winograd = by_winograd(r.launch.batch);
    (winograd ? winograd_->input_grad : kernels_->input_grad)(args, shape_);
  }
  void dense_weight_grad(const Replay& r, void* dweight) override {
    const kernels::ConvWeightGrad args = {.dweight = dweight,
                                          .dbias = bias_gradient(),
                                          .dy = r.grad(output),
                                          .x = r.data(inputs[0]),
                                          .workspace = r.workspace(),
                                          .launch = r.launch};
    const bool winograd = by_winograd(r.launch.batch);
    (winograd ? winograd_->weight_grad : kernels_->weight_grad)(args, shape_);
  }

  void dense_joint_backward(const Replay& r, void* dweight) override {
    joint_->backward({.dx = r.grad(inputs[0]),
                      .write = grad_write[0],
                      .dweight = dweight,
                      .x = r.data(inputs[0]),
                      .deferred_x = r.deferred_data(inputs[0]),
                      .weight = dense_weight(),
                      .dy = r.deferred_grad(output),
                      .sums = r.gradient_sums(inputs[0]),
                      .workspace = r.workspace(),
                      .launch = r.launch},
                     shape_);
  }

  void prepare_winograd(const Graph& graph) {
    winograd_ = &graph.backend().winograd;
    if (winograd_->forward == nullptr) return;
    winograd_pays_ = winograd_->pays(shape_, graph.max_batch());
    if (winograd_pays_)
      workspace_bytes_ =
          std::max(workspace_bytes_, winograd_->workspace_bytes(shape_, graph.max_batch()));
  }

  // Decides by the batch that is running, so that a short batch gives the same bits in a network
  // with any largest batch.
  bool by_winograd(int64_t images) const override {
    return settings().winograd && winograd_pays_ && winograd_->pays(shape_, images);
  }

  Conv2dShape shape_;
  const kernels::Conv2dKernels* kernels_ = nullptr;
  const kernels::WinogradKernels* winograd_ = nullptr;
  const kernels::ConvNormKernels* joint_ = nullptr;
  // True if Winograd's algorithm pays at the largest batch. Its workspace is then allocated.
  bool winograd_pays_ = false;
  size_t workspace_bytes_ = 0;
  size_t sums_bytes_ = 0;
  bool joint_fits_ = false;
  size_t gradient_sums_bytes_ = 0;
};

}  // namespace

const Conv2dShape* conv2d_shape(const Node& node) {
  const auto* conv = dynamic_cast<const Conv2d*>(&node);
  return conv != nullptr ? &conv->shape() : nullptr;
}

Value conv2d(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias, Conv2dOptions options,
             const KernelSettings& kernel_settings) {
  const auto& in = graph.shape(x);
  const auto& w = graph.parameters()[weight].shape;
  SCULPT_CHECK(w.size() == 4, "conv2d '{}': the weight must be [out, in/groups, kh, kw]", name);
  if (options.groups < 1 || in.channels % options.groups || w[0] % options.groups ||
      w[1] != in.channels / options.groups)
    fail("conv2d '{}': input {} and weight [{}, {}, {}, {}] do not fit {} groups", name,
         to_string(in), w[0], w[1], w[2], w[3], options.groups);
  if (options.stride < 1 || options.padding < 0)
    fail("conv2d '{}': stride {} or padding {} is out of range", name, options.stride,
         options.padding);
  const int64_t height =
      kernels::conv2d_output_size(in.height, w[2], options.stride, options.padding);
  const int64_t width =
      kernels::conv2d_output_size(in.width, w[3], options.stride, options.padding);
  if (in.height + 2 * options.padding < w[2] || in.width + 2 * options.padding < w[3])
    fail(
        "conv2d '{}': input {} is smaller than the {}x{} kernel; use larger images or a "
        "model with fewer strides and pooling steps",
        name, to_string(in), w[2], w[3]);

  Conv2dShape shape;
  shape.in = in;
  shape.out = {w[0], height, width, 0};
  shape.kernel_h = w[2];
  shape.kernel_w = w[3];
  shape.stride = options.stride;
  shape.padding = options.padding;
  shape.groups = options.groups;

  graph.claim(weight);
  if (bias) graph.claim(*bias);
  const Value y = graph.add(std::make_unique<Conv2d>(NodeInfo{name, "conv2d", weight, shape.macs()},
                                                     x, shape, weight, bias, kernel_settings),
                            w[0], height, width);
  graph.require_halo(x, options.padding);
  graph.require_halo(y, kernels::conv2d_output_halo(shape));
  return y;
}

}  // namespace sculpt::ops
