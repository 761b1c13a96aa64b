#pragma once
// The kept weights of a convolution or linear layer, as the kernels that skip the others want them.

#include <optional>
#include <span>
#include <vector>

#include "engine/autograd/graph.h"
#include "kernels/sparse_conv2d.h"

namespace sculpt::ops {

class SparseLayer {
 public:
  /// `shape`: of a linear layer, that of a 1x1 convolution over one pixel. The arena must outlive
  /// this object.
  void prepare(const ParameterArena& arena, ParameterId weight, const kernels::Conv2dShape& shape);

  /// Whether the backend has kernels that skip masked weights.
  bool available() const { return kernels().forward != nullptr; }

  /// Looks at the mask. True if it is not that of the last call (before the first one: all ones),
  /// or if there are more threads than the lists below were made for; they are then gone.
  bool follow_mask();
  bool masked() const { return !mask_.empty(); }
  /// Kept weights over all weights.
  double density() const;

  /// Makes the lists of kept weights, or frees them.
  void build();
  void drop();
  /// Once no kernel reads the other weights: from now on the lists are for arrays without them. To
  /// run on blocks takes buffers.
  void keep_only(bool on_blocks);
  bool kept_only() const { return kept_only_; }

  const kernels::SparseConv2dKernels& kernels() const { return arena_->backend().sparse_conv2d; }
  const kernels::Conv2dShape& shape() const { return shape_; }
  const kernels::SparsePattern& conv() const { return *conv_; }
  void* workspace() { return workspace_.data(); }

  // For passes on blocks.
  /// The values of the kept weights, as gather() found them.
  const void* values() const { return values_.data(); }
  void gather() { kernels().on_blocks.gather(values_.data(), arena_->weight(weight_), conv()); }
  /// The gradient that thread `thread` adds to; zero_partials() zeroes, sum_partials() adds up all.
  void* partial(int thread) { return workspace_.data() + static_cast<size_t>(thread) * partial_; }
  void zero_partials();
  void sum_partials(void* dweight);

 private:
  std::span<const uint8_t> arena_mask() const;

  const ParameterArena* arena_ = nullptr;
  ParameterId weight_ = -1;
  kernels::Conv2dShape shape_;
  int64_t mask_version_ = -1;
  std::vector<bool> mask_;  // as it was last seen; empty: all weights are kept
  int64_t kept_ = 0;
  std::optional<kernels::SparsePattern> conv_;
  bool kept_only_ = false;
  int threads_ = 0;            // that workspace_ is for
  Buffer workspace_, values_;  // on blocks, workspace_ holds the partial gradients
  size_t partial_ = 0;         // bytes of one
};

}  // namespace sculpt::ops
