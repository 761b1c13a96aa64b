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

  /// Before a forward pass: if the mask has changed, finds the kept weights and chooses anew.
  void follow_mask(SparseKernels wanted);

  /// Forward pass and input gradient on sparse kernels?
  bool activations() const { return activations_; }
  /// The weight gradient?
  bool weights() const { return weights_; }

  const kernels::SparseConv2dKernels& kernels() const { return arena_->backend().sparse_conv2d; }
  const kernels::SparseConv2d& conv() const { return *conv_; }
  void* workspace() { return workspace_.data(); }

  /// For passes on blocks: the values of the kept weights, gathered by gather().
  const void* values() const { return values_.data(); }
  void gather() { kernels().on_blocks.gather(values_.data(), arena_->weight(weight_), conv()); }
  /// The gradient that thread `thread` adds to; zero_partials() zeroes, sum_partials() adds up all.
  void* partial(int thread) { return partials_.data() + static_cast<size_t>(thread) * partial_; }
  void zero_partials();
  void sum_partials(void* dweight);

 private:
  const ParameterArena* arena_ = nullptr;
  ParameterId weight_ = -1;
  kernels::Conv2dShape shape_;
  int64_t mask_version_ = -1;
  std::vector<uint8_t> mask_;  // that conv_ was made for; empty: all weights are kept
  std::optional<kernels::SparseConv2d> conv_;
  Buffer workspace_, values_, partials_;
  size_t partial_ = 0;  // bytes
  bool activations_ = false;
  bool weights_ = false;
};

}  // namespace sculpt::ops
