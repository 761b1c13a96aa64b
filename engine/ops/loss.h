#pragma once
// The loss node, which the network calls directly.

#include <utility>

#include "engine/autograd/graph.h"
#include "engine/core/mirrored_buffer.h"
#include "engine/core/readback.h"

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

  /// Sets the labels of the coming batches, in the backend's memory. If they are null, forward()
  /// does nothing.
  void set_labels(const int32_t* labels) { labels_ = labels; }
  /// Returns the sums to which forward() adds those of its batch. Waits for the device.
  kernels::LossSums sums() const {
    return *reinterpret_cast<const kernels::LossSums*>(sums_.host());
  }
  /// Reads the sums without waiting; only on a device.
  Readback<kernels::LossSums> read_sums() {
    return {*backend_->memory, reinterpret_cast<kernels::LossSums*>(sums_.edit_device())};
  }
  /// Brings the sums into the backend's memory; see ParameterArena::hand_to_device().
  void hand_to_device() { sums_.edit_device(); }
  void set_sums(const kernels::LossSums& sums) {
    *reinterpret_cast<kernels::LossSums*>(sums_.edit_host()) = sums;
  }

 private:
  float label_smoothing_;
  const int32_t* labels_ = nullptr;
  MirroredBuffer sums_;  // holds one LossSums
  kernels::ActivationShape shape_;
  const kernels::Backend* backend_ = nullptr;
  Buffer dlogits_;  // written by forward(), which computes the softmax anyway
  size_t workspace_bytes_ = 0;
};

}  // namespace sculpt::ops
