#pragma once
// Batch normalisation over (N, H, W) per channel, fused with an optional residual add and ReLU:
//
//   z = gamma * (x - mean) * inv_std + beta (+ residual);   y = relu ? max(z, 0) : z
//   inv_std = 1 / sqrt(var + eps)
//
// Training uses the batch's mean and biased variance and moves the running ones:
//   running = (1 - momentum) * running + momentum * batch      (with the unbiased variance)
// as PyTorch does. Padded lanes of the last block count nowhere. Statistics and reductions are
// accumulated so that they stay accurate for large batches (pairwise or double partial sums) and in
// a fixed order. Per-channel arrays are [channels] in the backend's parameter type.
//
// x, y, residual, dx, dy, dresidual share `shape` (halo included).

#include <cstddef>

#include "kernels/channel_sums.h"
#include "kernels/common/layout.h"

namespace sculpt::kernels {

struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;
  bool relu = false;
};

struct BatchNormKernels {
  size_t (*workspace_bytes)(const ActivationShape&, int64_t max_batch);

  /// Writes y, saved_mean, saved_inv_std, and updates running_mean, running_var in place.
  /// residual may be null. sums, those that the producer of x left, may be null or empty: x is then
  /// read for them. Backends whose convolutions offer none take no notice of it.
  void (*forward_train)(void* y, void* saved_mean, void* saved_inv_std, void* running_mean,
                        void* running_var, const void* x, const ChannelSums* sums,
                        const void* residual, const void* gamma, const void* beta,
                        const ActivationShape& shape, const BatchNormOptions& options,
                        void* workspace, const Launch& launch);

  /// Uses the running statistics. residual may be null.
  void (*forward_eval)(void* y, const void* x, const void* residual, const void* gamma,
                       const void* beta, const void* running_mean, const void* running_var,
                       const ActivationShape& shape, const BatchNormOptions& options,
                       const Launch& launch);

  /// Gradient of forward_train. y, its output, is given where a residual took part and null
  /// otherwise: the ReLU's gate is then recomputed from x. dx (=, +=); dresidual (=, +=), null if
  /// there was none or it needs no gradient; dgamma, dbeta are overwritten. Padded lanes of dx are
  /// written as exactly 0.
  void (*backward_train)(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                         void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                         const void* saved_mean, const void* saved_inv_std, const void* gamma,
                         const void* beta, const ActivationShape& shape,
                         const BatchNormOptions& options, void* workspace, const Launch& launch);

  /// Gradient of forward_eval (running statistics are constants).
  void (*backward_eval)(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                        void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                        const void* running_mean, const void* running_var, const void* gamma,
                        const void* beta, const ActivationShape& shape,
                        const BatchNormOptions& options, void* workspace, const Launch& launch);
};

}  // namespace sculpt::kernels
