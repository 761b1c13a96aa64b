#pragma once
// The kept weights of a convolution or linear layer, in the form that kernels which skip masked
// weights use.

#include <optional>

#include "engine/autograd/graph.h"
#include "kernels/sparse_conv2d.h"

namespace sculpt::ops {

class SparseLayer {
 public:
  /// `shape` of a linear layer is the shape of a 1x1 convolution over one pixel. The arena must
  /// outlive this object.
  void prepare(const ParameterArena& arena, ParameterId weight, const kernels::Conv2dShape& shape);

  /// Returns true if the backend has kernels that skip masked weights.
  bool available() const { return kernels().forward != nullptr; }

  /// Takes the arena's pattern. Returns true if this pattern keeps other weights of the layer than
  /// the pattern of the last call (all weights before the first call), or if there are more threads
  /// than the lists below were built for. In both cases the lists are freed.
  bool follow_mask();
  bool masked() const { return pattern_ && !pattern_->all_kept(weight_); }
  /// Returns the number of kept weights divided by the number of all weights.
  double density() const { return pattern_ ? pattern_->density(weight_) : 1; }

  /// build() creates the lists of kept weights, and drop() frees them.
  void build();
  void drop();
  /// Call this when no kernel reads masked weights any more. From now on, the lists refer to arrays
  /// that hold kept weights only.
  void keep_only();
  /// Allocates the buffers for running on blocks.
  void prepare_blocks();
  bool kept_only() const { return kept_only_; }

  const kernels::SparseConv2dKernels& kernels() const { return arena_->backend().sparse_conv2d; }
  const kernels::Conv2dShape& shape() const { return shape_; }
  const kernels::SparsePattern& conv() const { return *conv_; }
  void* workspace() { return workspace_.data(); }

  // These functions are for passes on blocks.
  /// Returns the values of the kept weights as gather() last read them.
  const void* values() const { return values_.data(); }
  void gather() { kernels().on_blocks.gather(values_.data(), arena_->weight(weight_), conv()); }
  /// Returns the partial gradient that thread `thread` adds to. zero_partials() zeroes the partial
  /// gradients of all threads; sum_partials() adds them up.
  void* partial(int thread) { return workspace_.data() + static_cast<size_t>(thread) * partial_; }
  void zero_partials();
  void sum_partials(void* dweight);

 private:
  const ParameterArena* arena_ = nullptr;
  ParameterId weight_ = -1;
  kernels::Conv2dShape shape_;
  SharedPattern pattern_;  // at the last call of follow_mask()
  std::optional<kernels::SparsePattern> conv_;
  bool kept_only_ = false;
  int threads_ = 0;            // number of threads that workspace_ is for
  Buffer workspace_, values_;  // on blocks, workspace_ holds the partial gradients
  size_t partial_ = 0;         // bytes of one partial gradient
};

}  // namespace sculpt::ops
