#pragma once
// Soft thresholds that are trained (Kusupati et al. 2020, "Soft Threshold Weight Reparameterization
// for Learnable Sparsity"). Each layer has a trained number s and the threshold
//   t = sigmoid(s) = 1 / (1 + exp(-s)).
// The arena has a second array of weights, v, which the optimizer trains. The network computes with
//   w = sign(v) * max(|v| - t, 0).
// The network has the gradient g = dL/dw. The gradients of v and s follow from it; 1[...] is 1 if
// the condition holds, and 0 otherwise:
//   dL/dv = g * 1[|v| > t]
//   dL/ds = -t * (1 - t) * sum of sign(v) * g * 1[|v| > t] over the weights of the layer.
//
// A training step has three parts: `gradients`, the masked update (masked_update.h) of the array v
// in place of the weights, and `apply`.
//
// The update of s follows the rule of the masked update, with G = grad_scale * dL/ds:
//   SGD:    d = G + weight_decay * s ;  m = momentum * m + d
//           s = s - lr * (nesterov ? d + momentum * m : m)
//   AdamW:  m = beta1 * m + (1 - beta1) * G ;  q = beta2 * q + (1 - beta2) * G^2
//           s = s - lr * weight_decay * s
//                 - lr * first_correction * m / (sqrt(second_correction * q) + epsilon)
//
// A masked weight has v = +0, so that it gets w = +0 and its gradient becomes 0. Where |v| <= t, w
// is +0 as well. Deterministic: the sum of a layer is computed in double in a fixed order, which
// does not depend on the number of threads. All pointers point into the backend's memory.

#include <cstddef>
#include <cstdint>

#include "kernels/masked_update.h"

namespace sculpt::kernels {

/// The trained number of a layer, and what the optimizer keeps of it.
struct SoftThreshold {
  double s = 0;
  double momentum = 0;   ///< m
  double second = 0;     ///< q of AdamW
  double threshold = 0;  ///< t = sigmoid(s)
  double gradient = 0;   ///< dL/ds, before it is scaled
};

/// A range of the arena. Runs are in order and do not overlap.
struct SoftThresholdRun {
  int64_t offset = 0;  ///< first element
  int64_t count = 0;
  /// Index of the layer's threshold. -1: the elements have none, and w = v. A layer is one run.
  int64_t layer = -1;
};

struct SoftThresholdArena {
  void* weight = nullptr;  ///< w, elements of Backend::parameter_bytes, as v and the gradient
  void* raw = nullptr;     ///< v
  void* grad = nullptr;    ///< dL/dw on entry of `gradients`, and dL/dv afterwards
  const SoftThresholdRun* runs = nullptr;
  int64_t run_count = 0;
  SoftThreshold* thresholds = nullptr;  ///< one for each layer
};

struct SoftThresholdKernels {
  /// Turns dL/dw into dL/dv, and computes the gradient of each threshold.
  void (*gradients)(const SoftThresholdArena& arena, void* workspace, void* stream);
  /// Updates the thresholds, and computes w from v.
  void (*apply)(const SoftThresholdArena& arena, const UpdateScalars* scalars,
                const UpdateOptions& options, float weight_decay, void* stream);
  /// Returns the bytes of the workspace of `gradients`.
  size_t (*workspace_bytes)(int64_t run_count);
};

}  // namespace sculpt::kernels
