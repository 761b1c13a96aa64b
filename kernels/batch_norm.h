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

/// forward_train and backward_train below in parts, so that some rows of a block of images can pass
/// through several ops while they are in cache: `sum` for all of them, `finish` once, `apply` for
/// all. They may be run in any order, each on the calling thread alone; results are the same bits.
/// Activations point at the block, and launch.batch counts its images, at most Backend::lanes.
/// `rows` begin and end at bands (band_rows()).
struct BatchNormBlockKernels {
  /// Writes chunks of two sums of x of their own kind, one for each band of rows: those of block
  /// `block` are [block * bands_of(shape), (block + 1) * bands_of(shape)). copy, here and below:
  /// null, or where the rows are written as well, around the cache.
  void (*sum)(const ChannelSums& sums, int64_t block, const void* x, void* copy,
              const ActivationShape& shape, const RowRange& rows, const Launch& launch);
  /// From the sums of all blocks, with `batch` images.
  void (*finish)(void* saved_mean, void* saved_inv_std, void* running_mean, void* running_var,
                 const ChannelSums& sums, int64_t batch, const ActivationShape& shape,
                 const BatchNormOptions& options);
  /// copy: of y.
  void (*apply)(void* y, void* copy, const void* x, const void* residual, const void* saved_mean,
                const void* saved_inv_std, const void* gamma, const void* beta,
                const ActivationShape& shape, const BatchNormOptions& options, const RowRange& rows,
                const Launch& launch);

  /// Writes chunks of two sums of their own kind, which finish_grad makes gradients of. copy: of
  /// dy.
  void (*sum_grad)(const ChannelSums& sums, int64_t block, const void* dy, void* copy,
                   const void* x, const void* y, const void* saved_mean, const void* saved_inv_std,
                   const void* gamma, const void* beta, const ActivationShape& shape,
                   const BatchNormOptions& options, const RowRange& rows, const Launch& launch);
  void (*finish_grad)(void* dgamma, void* dbeta, const ChannelSums& sums, const void* saved_inv_std,
                      const ActivationShape& shape);
  /// batch: images in all blocks. stream_dresidual: overwrite it, around the cache.
  void (*apply_grad)(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                     bool stream_dresidual, const void* dgamma, const void* dbeta, const void* dy,
                     const void* x, const void* y, const void* saved_mean,
                     const void* saved_inv_std, const void* gamma, const void* beta, int64_t batch,
                     const ActivationShape& shape, const BatchNormOptions& options,
                     const RowRange& rows, const Launch& launch);
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
  /// otherwise: the ReLU's gate is then recomputed from x. dx (=, +=) and dresidual (=, +=) are
  /// null where there is none or it needs no gradient; dgamma, dbeta are overwritten. Padded lanes
  /// of dx are written as exactly 0.
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

  BatchNormBlockKernels on_blocks = {};  ///< null where there are none
};

}  // namespace sculpt::kernels
