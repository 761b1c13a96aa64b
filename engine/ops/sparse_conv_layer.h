#pragma once
// A convolution's kept weights, and which of its passes skip the others.

#include <optional>
#include <vector>

#include "engine/autograd/graph.h"
#include "kernels/sparse_conv2d.h"

namespace sculpt::ops {

class SparseConvLayer {
 public:
  /// The arena must outlive this object.
  void prepare(const ParameterArena& arena, ParameterId weight, const kernels::Conv2dShape& shape);

  /// Passes that would run by Winograd's algorithm if they ran dense.
  struct Winograd {
    bool activations = false;
    bool weights = false;
  };

  /// Before a forward pass: if the mask has changed, finds the kept weights and chooses anew.
  void follow_mask(SparseKernels wanted, Winograd dense);

  /// Forward pass and input gradient on sparse kernels?
  bool activations() const { return activations_; }
  /// The weight gradient?
  bool weights() const { return weights_; }

  const kernels::SparseConv2dKernels& kernels() const { return arena_->backend().sparse_conv2d; }
  const kernels::SparseConv2d& conv() const { return *conv_; }
  void* workspace() { return workspace_.data(); }

 private:
  const ParameterArena* arena_ = nullptr;
  ParameterId weight_ = -1;
  kernels::Conv2dShape shape_;
  int64_t mask_version_ = -1;
  std::vector<uint8_t> mask_;  // that conv_ was made for; empty: all weights are kept
  std::optional<kernels::SparseConv2d> conv_;
  Buffer workspace_;
  bool activations_ = false;
  bool weights_ = false;
};

}  // namespace sculpt::ops
