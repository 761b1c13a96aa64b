#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"
#include "engine/ops/sparse_conv_layer.h"

namespace sculpt::ops {

using kernels::Conv2dShape;

namespace {

class Conv2d final : public Node, private BlockPasses {
 public:
  Conv2d(NodeInfo node_info, Value x, Conv2dShape shape, ParameterId weight,
         std::optional<ParameterId> bias)
      : Node(std::move(node_info), {x}), shape_(shape), weight_(weight), bias_(bias) {}

  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().conv2d;
    arena_ = &graph.parameters();
    shape_.in = graph.shape(inputs[0]);
    shape_.out = graph.shape(output);
    workspace_bytes_ = kernels_->workspace_bytes(shape_, graph.max_batch());
    sparse_.prepare(*arena_, weight_, shape_);
    if (kernels_->output_sums_bytes != nullptr)
      sums_bytes_ = kernels_->output_sums_bytes(shape_, graph.max_batch());
  }

  void forward(const Replay& r) override {
    void* y = r.data(output);
    const void* x = r.data(inputs[0]);
    const void* bias = bias_ ? arena_->weight(*bias_) : nullptr;
    sparse_.follow_mask(r.sparse);
    if (sparse_.activations())
      sparse_.kernels().forward(y, x, arena_->weight(weight_), bias, sparse_.conv(),
                                sparse_.workspace(), r.launch);
    else
      kernels_->forward(y, r.sums(output), x, arena_->compute_weight(weight_), bias, shape_,
                        r.workspace(), r.launch);
  }

  void backward(const Replay& r) override {
    using kernels::GradWrite;
    const void* dy = r.grad(output);
    const void* x = r.data(inputs[0]);
    void* dweight = arena_->gradient(weight_);
    void* dbias = bias_ ? arena_->gradient(*bias_) : nullptr;
    if (sparse_.weights())
      sparse_.kernels().weight_grad(dweight, dbias, dy, x, sparse_.conv(), GradWrite::overwrite,
                                    sparse_.workspace(), r.launch);
    else
      kernels_->weight_grad(dweight, dbias, dy, x, shape_, GradWrite::overwrite, r.workspace(),
                            r.launch);
    void* dx = r.grad(inputs[0]);
    if (dx == nullptr) return;
    if (sparse_.activations())
      sparse_.kernels().input_grad(dx, dy, arena_->weight(weight_), sparse_.conv(), grad_write[0],
                                   sparse_.workspace(), r.launch);
    else
      kernels_->input_grad(dx, dy, arena_->compute_weight(weight_), shape_, grad_write[0],
                           r.workspace(), r.launch);
  }

  // Biases would want partial sums of their own; layers that batch norm follows have none. Planes
  // of one pixel are faster together.
  BlockPasses* block_passes() override {
    const bool possible = sparse_.kernels().on_blocks.forward != nullptr && !bias_ &&
                          shape_.out.height * shape_.out.width > 1;
    return possible ? this : nullptr;
  }
  bool ready(const Replay& r) override {
    sparse_.follow_mask(r.sparse);
    return sparse_.activations() && sparse_.weights();
  }
  void begin(Pass pass, const Replay&) override {
    pass == Pass::forward ? sparse_.gather() : sparse_.zero_partials();
  }
  void run(Pass pass, const Replay& block) override {
    const auto& kernels = sparse_.kernels().on_blocks;
    const void* x = block.data(inputs[0]);
    if (pass == Pass::forward)
      return kernels.forward(block.data(output), x, sparse_.values(), sparse_.conv(), block.launch);
    const void* dy = block.grad(output);
    kernels.weight_grad(sparse_.partial(block.thread()), dy, x, sparse_.conv(), block.launch);
    if (void* dx = block.grad(inputs[0]))
      kernels.input_grad(dx, dy, sparse_.values(), sparse_.conv(), grad_write[0], block.launch);
  }
  void end(Pass pass, const Replay&) override {
    if (pass == Pass::backward) sparse_.sum_partials(arena_->gradient(weight_));
  }

  bool backward_reads_input(size_t) const override { return true; }
  size_t workspace_bytes() const override { return workspace_bytes_; }
  size_t output_sums_bytes() const override { return sums_bytes_; }

 private:
  Conv2dShape shape_;
  ParameterId weight_;
  std::optional<ParameterId> bias_;
  const kernels::Conv2dKernels* kernels_ = nullptr;
  ParameterArena* arena_ = nullptr;
  SparseConvLayer sparse_;
  size_t workspace_bytes_ = 0;
  size_t sums_bytes_ = 0;
};

}  // namespace

Value conv2d(Graph& graph, const std::string& name, Value x, ParameterId weight,
             std::optional<ParameterId> bias, Conv2dOptions options) {
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
        "conv2d '{}': input {} is smaller than the {}x{} kernel; use larger images or fewer "
        "strides",
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
                                                     x, shape, weight, bias),
                            w[0], height, width);
  graph.require_halo(x, options.padding);
  graph.require_halo(y, kernels::conv2d_output_halo(shape));
  return y;
}

}  // namespace sculpt::ops
