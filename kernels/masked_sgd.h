#pragma once
// The optimizer's update, fused with the mask: one pass over the whole parameter arena.
//
//   g = grad_scale * grad + weight_decay * w          (as torch.optim.SGD, dampening 0)
//   m = momentum * m + g ;   w = w - lr * (nesterov ? g + momentum * m : m)
//   where mask == 0: w = m = +0 exactly
//
// Memory traffic per weight: 4 reads, 2 writes and one mask byte, plus a write of the compute copy
// where the backend has one (Backend::compute_weight_bytes). Deterministic. All pointers point into
// the backend's memory.

#include <cstddef>
#include <cstdint>

namespace sculpt::kernels {

/// A range of the arena whose elements are updated in the same way. Segments are in order, do not
/// overlap and need not cover the arena.
struct SgdSegment {
  int64_t offset = 0;  ///< first element
  int64_t count = 0;
  float weight_decay = 0;
  /// Destination in the compute copy of a weight [out][in][taps]: element (o, c, t) goes to
  /// packed[compute_copy_offset + (o * taps + t) * in + c]. -1: the segment has no compute copy.
  int64_t compute_copy_offset = -1;
  int32_t in = 1;
  int32_t taps = 1;
};

/// The arrays that the update works on. weight, momentum, grad: elements of
/// Backend::parameter_bytes.
struct SgdArena {
  void* weight = nullptr;
  void* momentum = nullptr;
  const void* grad = nullptr;
  const uint8_t* mask = nullptr;  ///< 0/1 per element; null: nothing is masked
  void* compute_copy = nullptr;   ///< elements of Backend::compute_weight_bytes
  const SgdSegment* segments = nullptr;
  int64_t segment_count = 0;
  int64_t count = 0;  ///< elements of the arena
};

/// Values that change from step to step.
struct SgdScalars {
  float lr = 0;
  float grad_scale = 1;  ///< < 1 when gradients are clipped
};

struct SgdOptions {
  float momentum = 0.9f;
  bool nesterov = false;
};

struct MaskedSgdKernels {
  void (*update)(const SgdArena& arena, const SgdScalars* scalars, const SgdOptions& options,
                 void* stream);
  /// Writes the compute copies of all segments that have one. Null where the backend has none.
  void (*pack)(const SgdArena& arena, void* stream);
  /// scalars->grad_scale := min(1, max_norm / norm), where norm is the L2 norm of grad[0..count)
  /// over the elements whose mask is 1. `mask` may be null (nothing is masked). The norm is summed
  /// in double in a fixed order.
  void (*clip)(SgdScalars* scalars, const void* grad, const uint8_t* mask, int64_t count,
               float max_norm, void* workspace, void* stream);
  size_t (*clip_workspace_bytes)(int64_t count);
};

}  // namespace sculpt::kernels
