#pragma once
// The loss node, which the network talks to directly.

#include <span>

#include "engine/autograd/graph.h"

namespace sculpt::ops {

class SoftmaxCrossEntropy final : public Node {
 public:
  SoftmaxCrossEntropy(NodeInfo node_info, Value logits, float label_smoothing)
      : Node(std::move(node_info), {logits}), label_smoothing_(label_smoothing) {}

  void prepare(const Graph& graph) override;
  /// Label smoothing applies in training mode only: evaluation reports the plain cross-entropy.
  void forward(const Replay& r) override;
  void backward(const Replay& r) override;

  /// Labels of the coming batch, [batch], valid until the next call; empty: forward() does nothing.
  void set_labels(std::span<const int32_t> labels) { labels_ = labels; }
  const kernels::LossSums& sums() const { return sums_; }

 private:
  float label_smoothing_;
  std::span<const int32_t> labels_;
  kernels::LossSums sums_;
  kernels::ActivationShape shape_;
  const kernels::Backend* backend_ = nullptr;
  Buffer dlogits_;  // written by forward(), which has the softmax at hand
};

}  // namespace sculpt::ops
