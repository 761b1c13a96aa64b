#pragma once
// The optimizer's update, fused with the mask: one pass over the whole parameter arena.
//
//   g = grad_scale * grad + weight_decay * w          (as torch.optim.SGD, dampening 0)
//   m = momentum * m + g ;   w = w - lr * (nesterov ? g + momentum * m : m)
//   where mask == 0: w = m = +0 exactly
//
// Moves 4 reads + 2 writes per weight plus one mask byte. Deterministic.

#include <cstdint>

namespace sculpt::kernels {

struct SgdStep {
  float lr = 0;
  float momentum = 0.9f;
  float weight_decay = 0;
  bool nesterov = false;
  float grad_scale = 1;  ///< < 1 when gradients are clipped
};

struct MaskedSgdKernels {
  /// weight, momentum, grad: [count]; mask: [count] of 0/1, or null for none.
  void (*update)(void* weight, void* momentum, const void* grad, const uint8_t* mask, int64_t count,
                 const SgdStep& step, void* stream);
  /// Sum of squares of grad[0..count) where mask (may be null) is 1, in double, fixed order.
  double (*sum_of_squares)(const void* grad, const uint8_t* mask, int64_t count, void* stream);
};

}  // namespace sculpt::kernels
