#pragma once
// The loss node, which the network talks to directly.

#include <span>

#include "engine/autograd/graph.h"
#include "engine/core/mirrored_buffer.h"
#include "engine/core/staging.h"

namespace sculpt::ops {

class SoftmaxCrossEntropy final : public Node {
 public:
  SoftmaxCrossEntropy(NodeInfo node_info, Value logits, float label_smoothing)
      : Node(std::move(node_info), {logits}), label_smoothing_(label_smoothing) {}

  void prepare(const Graph& graph) override;
  /// Label smoothing applies in training mode only: evaluation reports the plain cross-entropy.
  void forward(const Replay& r) override;
  void backward(const Replay& r) override;
  size_t workspace_bytes() const override { return workspace_bytes_; }

  /// Labels of the coming batch, [batch], valid until the next call; empty: forward() does nothing.
  void set_labels(std::span<const int32_t> labels) { labels_ = labels; }
  /// Of the last forward(); waits for it.
  const kernels::LossSums& sums() const {
    return *reinterpret_cast<const kernels::LossSums*>(sums_.host());
  }

 private:
  float label_smoothing_;
  std::span<const int32_t> labels_;
  Staging staged_labels_;
  MirroredBuffer sums_;  // one LossSums
  kernels::ActivationShape shape_;
  const kernels::Backend* backend_ = nullptr;
  Buffer dlogits_;  // written by forward(), which has the softmax at hand
  size_t workspace_bytes_ = 0;
};

}  // namespace sculpt::ops
