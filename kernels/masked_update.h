#pragma once
// The optimizers' update, fused with the mask: one pass over the whole parameter arena. In the
// formulas g = grad_scale * grad, and every kept weight w has its own m, v, f and average.
//
// SGD (as torch.optim.SGD, dampening 0):
//   d = g + weight_decay * w ;  m = momentum * m + d
//   w = w - lr * (nesterov ? d + momentum * m : m)
//
// AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization"; as torch.optim.AdamW):
//   m = beta1 * m + (1 - beta1) * g ;  v = beta2 * v + (1 - beta2) * g^2
//   w = w - lr * weight_decay * w
//         - lr * first_correction * m / (sqrt(second_correction * v) + epsilon)
//
// Sign-In (Gadhikar & Burkholz 2025), in segments with sign_in and with the rule SGD: the weight is
// a product of two trained factors, w = f * u. The arena holds w and f, and u = w / f.
//   where f = 0:  f = sqrt((b + sqrt(b^2 + 4 * w^2)) / 2), b = sign_in_beta, so that f^2 - u^2 = b
//   SGD steps of u with the gradient d * f and of f with the gradient d * u, where d is SGD's ;
//   w = f * u.  m is the momentum of u, and v is the momentum of f.
// An array f of zeros therefore means that the next update splits the weights.
//
// HAM (hyperbolic aware minimization, ICLR 2026), in segments with ham, after the step above:
//   w = w * exp(clip(lr * (-ham_alpha * sign(w) * g - ham_beta), -5, 5))
// A weight of exactly 0 stays 0.
//
// Average of weights (Polyak & Juditsky 1992), if the arena has one, after everything above:
//   average = average + average_rate * (w - average)
//
// The values w, m, v, f and average of an element are exactly +0 where its mask is 0.
//
// Memory traffic per weight of SGD: 4 reads, 2 writes and one mask byte, plus a write of the
// compute copy where the backend has one (Backend::compute_weight_bytes). Each further array adds
// one read and one write. Deterministic. All pointers point into the backend's memory.

#include <cstddef>
#include <cstdint>

namespace sculpt::kernels {

/// A range of the arena whose elements are updated in the same way. Segments are in order, do not
/// overlap and need not cover the arena.
struct UpdateSegment {
  int64_t offset = 0;  ///< first element
  int64_t count = 0;
  float weight_decay = 0;
  /// Destination in the compute copy of a weight [out][in][taps]: element (o, c, t) goes to
  /// packed[compute_copy_offset + (o * taps + t) * in + c]. -1: the segment has no compute copy.
  int64_t compute_copy_offset = -1;
  int32_t in = 1;
  int32_t taps = 1;
  bool ham = false;      ///< the step of HAM follows; needs UpdateOptions::any_ham
  bool sign_in = false;  ///< the weights are products of two factors; only with the rule SGD
};

/// The arrays that the update works on. All but `mask` have elements of Backend::parameter_bytes,
/// one for each weight.
struct UpdateArena {
  void* weight = nullptr;
  void* momentum = nullptr;  ///< m
  void* second = nullptr;    ///< v; null if neither AdamW nor Sign-In needs it
  void* factor = nullptr;    ///< f of Sign-In; null if no segment has sign_in
  void* average = nullptr;   ///< null: no average is kept
  const void* grad = nullptr;
  const uint8_t* mask = nullptr;  ///< 0/1 per element; null: nothing is masked
  void* compute_copy = nullptr;   ///< elements of Backend::compute_weight_bytes
  const UpdateSegment* segments = nullptr;
  int64_t segment_count = 0;
  int64_t count = 0;  ///< elements of the arena
};

/// Values that change from step to step.
struct UpdateScalars {
  float lr = 0;
  float grad_scale = 1;         ///< < 1 when gradients are clipped
  float first_correction = 1;   ///< 1 / (1 - beta1^t) in step t = 1, 2, ... of AdamW
  float second_correction = 1;  ///< 1 / (1 - beta2^t)
  float average_rate = 1;       ///< weight of the present step in the average, in (0, 1]
};

enum class UpdateRule { sgd, adamw };

/// Values that are the same in all steps.
struct UpdateOptions {
  UpdateRule rule = UpdateRule::sgd;
  float momentum = 0.9f;  ///< of SGD
  bool nesterov = false;  ///< of SGD
  float beta1 = 0.9f;     ///< this and the four next values are AdamW's
  float beta2 = 0.999f;
  float one_minus_beta1 = 0.1f;  ///< computed in double, because 1 - beta1 cancels digits in float
  float one_minus_beta2 = 0.001f;
  float epsilon = 1e-8f;
  bool any_ham = false;  ///< true if a segment has `ham`
  float ham_alpha = 200;
  float ham_beta = 1e-3f;
  float sign_in_beta = 1;  ///< above 0
};

/// HAM's exponent is clipped to [-kHamClip, kHamClip].
inline constexpr float kHamClip = 5;

struct MaskedUpdateKernels {
  void (*update)(const UpdateArena& arena, const UpdateScalars* scalars,
                 const UpdateOptions& options, void* stream);
  /// Writes the compute copies of all segments that have one. Null where the backend has none.
  void (*pack)(const UpdateArena& arena, void* stream);
  /// scalars->grad_scale := min(1, max_norm / norm), where norm is the L2 norm of grad[0..count)
  /// over the elements whose mask is 1. `mask` may be null (nothing is masked). The norm is summed
  /// in double in a fixed order.
  void (*clip)(UpdateScalars* scalars, const void* grad, const uint8_t* mask, int64_t count,
               float max_norm, void* workspace, void* stream);
  size_t (*clip_workspace_bytes)(int64_t count);
};

}  // namespace sculpt::kernels
