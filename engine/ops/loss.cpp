#include "engine/ops/loss.h"

#include <memory>

#include "engine/ops/ops.h"
#include "engine/ops/shape_check.h"

namespace sculpt::ops {

void SoftmaxCrossEntropy::prepare(const Graph& graph) {
  backend_ = &graph.backend();
  shape_ = graph.shape(inputs[0]);
  SCULPT_CHECK(shape_.halo == 0, "logits cannot have a halo");
  const int64_t cells = shape_.buffer_cells(backend_->blocks(graph.max_batch()));
  dlogits_ = Buffer(static_cast<size_t>(cells * backend_->lanes) * backend_->activation_bytes,
                    "the gradient of the logits", backend_->memory);
  sums_ = MirroredBuffer(sizeof(kernels::LossSums), "the loss", backend_->memory);
  workspace_bytes_ = backend_->loss.workspace_bytes(shape_.channels, graph.max_batch());
}

void SoftmaxCrossEntropy::forward(const Replay& r) {
  if (labels_ == nullptr) return;
  const bool gradient = r.mode != Mode::eval;
  backend_->loss.softmax_cross_entropy(
      {.sums = reinterpret_cast<kernels::LossSums*>(sums_.edit_device()),
       .dlogits = gradient ? dlogits_.data() : nullptr,
       .logits = r.data(inputs[0]),
       .labels = labels_,
       .classes = shape_.channels,
       .label_smoothing = r.mode == Mode::train ? label_smoothing_ : 0.0f,
       .images = r.images_of_step(),
       .workspace = r.workspace(),
       .launch = r.launch});
}

void SoftmaxCrossEntropy::backward(const Replay& r) {
  backend_->elementwise.pass_through(r.grad(inputs[0]), dlogits_.data(), shape_, grad_write[0],
                                     r.launch);
}

SoftmaxCrossEntropy* softmax_cross_entropy(Graph& graph, Value logits, float label_smoothing) {
  require_feature_vector("softmax_cross_entropy", "loss", graph.shape(logits));
  if (!(label_smoothing >= 0 && label_smoothing < 1))
    fail("label smoothing {} is not in [0, 1)", label_smoothing);
  auto node = std::make_unique<SoftmaxCrossEntropy>(
      NodeInfo{"loss", "softmax_cross_entropy", -1, 0}, logits, label_smoothing);
  auto* loss = node.get();
  graph.add(std::move(node), 0, 0, 0);
  return loss;
}

}  // namespace sculpt::ops
