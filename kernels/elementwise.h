#pragma once
// Elementwise kernels on activations: interiors only, halos stay zero. All tensors of a call share
// `shape` (halo included).

#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// Where a dropout mask comes from: element e of image n (n counted over the batch, e in CHW order)
/// is dropped iff uniform(Philox(key, counter = n * elements_per_image + e, *step)) < rate.
struct DropoutDraw {
  uint64_t key = 0;                ///< from (seed, purpose, op)
  const uint64_t* step = nullptr;  ///< of training; lies in the backend's memory
  float rate = 0.5f;               ///< probability of a zero, in [0, 1)
};

struct ElementwiseKernels {
  /// y := max(x, 0).
  void (*relu_forward)(void* y, const void* x, const ActivationShape&, const Launch&);
  /// dx (=, +=) dy where y > 0.
  void (*relu_backward)(void* dx, const void* dy, const void* y, const ActivationShape&, GradWrite,
                        const Launch&);
  /// y := a + b.
  void (*add_forward)(void* y, const void* a, const void* b, const ActivationShape&, const Launch&);
  /// dx (=, +=) dy: the gradient of add, and a copy.
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
