#pragma once
// Elementwise kernels on activations. They touch interiors only, so halos stay zero. All tensors of
// a call share `shape` (halo included).

#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// Determines a dropout mask. Element e of image n (e in CHW order) is dropped if and only if
/// uniform(Philox(key, counter = (first_image + n) * elements_per_image + e, *step)) < rate.
struct DropoutDraw {
  uint64_t key = 0;                ///< from (seed, purpose, op)
  const uint64_t* step = nullptr;  ///< number of the training step; lies in the backend's memory
  float rate = 0.5f;               ///< probability of a zero, in [0, 1)
  /// Position of the call's first image in the batch that several processes share.
  int64_t first_image = 0;
};

struct ElementwiseKernels {
  /// y := max(x, 0).
  void (*relu_forward)(void* y, const void* x, const ActivationShape&, const Launch&);
  /// dx (=, +=) dy where y > 0.
  void (*relu_backward)(void* dx, const void* dy, const void* y, const ActivationShape&, GradWrite,
                        const Launch&);
  /// y := a + b.
  void (*add_forward)(void* y, const void* a, const void* b, const ActivationShape&, const Launch&);
  /// dx (=, +=) dy. This is the gradient of an addition, and also serves as a copy.
  void (*pass_through)(void* dx, const void* dy, const ActivationShape&, GradWrite, const Launch&);
  /// y := x / (1 - rate) where kept, 0 where dropped.
  void (*dropout_forward)(void* y, const void* x, const ActivationShape&, const DropoutDraw&,
                          const Launch&);
  /// dx (=, +=) dy / (1 - rate) where kept.
  void (*dropout_backward)(void* dx, const void* dy, const ActivationShape&, const DropoutDraw&,
                           GradWrite, const Launch&);
  /// y [C*H*W features, halo 0] := x [C][H][W] (any halo), features in CHW order.
  void (*flatten_forward)(void* y, const void* x, const ActivationShape& x_shape, const Launch&);
  void (*flatten_backward)(void* dx, const void* dy, const ActivationShape& x_shape, GradWrite,
                           const Launch&);
};

}  // namespace sculpt::kernels
