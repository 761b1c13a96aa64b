#pragma once
// Divides the workspace of a convolution whose passes run by Winograd's algorithm on blocks of
// images.

#include <cstddef>

#include "kernels/winograd.h"

namespace sculpt::ops {

/// The workspace of the passes of one direction. It holds the transformed weights, which all
/// threads read, and for each thread a partial gradient of the weight (in the backward direction)
/// and scratch.
class WinogradWorkspace {
 public:
  /// Divides nothing yet: bytes() is 0.
  WinogradWorkspace() = default;
  /// Computes the sizes of the parts. `shape` must fit (WinogradBlockKernels::fits).
  WinogradWorkspace(const kernels::WinogradBlockKernels& kernels, const kernels::Conv2dShape& shape,
                    bool backward);

  size_t bytes() const;
  /// Sets where the workspace begins: bytes() bytes, 64-byte aligned.
  void place(void* memory) { first_ = static_cast<std::byte*>(memory); }

  /// Transforms the weights for forward() or, in the backward direction, for input_grad().
  void transform(const void* weight) const;
  const void* points() const { return first_; }

  void zero_partials() const;
  void* partial(int thread) const {
    return partials() + static_cast<size_t>(thread) * partial_bytes_;
  }
  /// Overwrites dweight with the sum of the threads' partial gradients.
  void sum_partials(void* dweight) const;

  void* scratch(int thread) const;

 private:
  std::byte* partials() const { return first_ + points_bytes_; }

  const kernels::WinogradBlockKernels* kernels_ = nullptr;
  const kernels::Conv2dShape* shape_ = nullptr;
  kernels::ConvPass points_pass_ = kernels::ConvPass::forward;
  std::byte* first_ = nullptr;
  size_t points_bytes_ = 0;
  size_t partial_bytes_ = 0;
  size_t scratch_bytes_ = 0;
};

}  // namespace sculpt::ops
