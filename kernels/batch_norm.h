#pragma once
// Batch normalisation over (N, H, W) per channel, fused with an optional residual add and ReLU:
//
//   z = gamma * (x - mean) * inv_std + beta (+ residual);   y = relu ? max(z, 0) : z
//   inv_std = 1 / sqrt(var + eps)
//
// Training uses the batch's mean and biased variance and updates the running statistics:
//   running = (1 - momentum) * running + momentum * batch      (with the unbiased variance)
// as PyTorch does. Padded lanes of the last block are excluded from all sums. Statistics and
// reductions stay accurate for large batches (pairwise or double partial sums), and the order of
// each sum is fixed. Per-channel arrays are [channels] in the backend's parameter type.
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

/// forward_train and backward_train below, split into parts. The parts let some rows of a block of
/// images pass through several ops while these rows are in cache: call `sum` for all rows, `finish`
/// once, then `apply` for all rows. Within `sum` and within `apply`, rows may be processed in any
/// order. Each call runs on the calling thread alone, and the results are the same bits as those of
/// the whole kernels. Activation pointers point at the block, and launch.batch is the number of its
/// images, at most Backend::lanes. `rows` begin and end at bands (band_rows()).
struct BatchNormBlockKernels {
  /// Writes chunks of two partial sums of x, one chunk for each band of rows; only finish() reads
  /// them. The chunks of block `block` are [block * bands_of(shape), (block + 1) *
  /// bands_of(shape)). `copy`, here and below, may be null; otherwise the rows are also written to
  /// `copy`, with stores that bypass the cache.
  void (*sum)(const ChannelSums& sums, int64_t block, const void* x, void* copy,
              const ActivationShape& shape, const RowRange& rows, const Launch& launch);
  /// Computes the statistics from the sums of all blocks. `batch` is the number of images in all
  /// blocks.
  void (*finish)(void* saved_mean, void* saved_inv_std, void* running_mean, void* running_var,
                 const ChannelSums& sums, int64_t batch, const ActivationShape& shape,
                 const BatchNormOptions& options);
  /// `copy` receives a copy of y.
  void (*apply)(void* y, void* copy, const void* x, const void* residual, const void* saved_mean,
                const void* saved_inv_std, const void* gamma, const void* beta,
                const ActivationShape& shape, const BatchNormOptions& options, const RowRange& rows,
                const Launch& launch);

  /// Writes chunks of two partial sums, from which finish_grad() computes the gradients. `copy`
  /// receives a copy of dy.
  void (*sum_grad)(const ChannelSums& sums, int64_t block, const void* dy, void* copy,
                   const void* x, const void* y, const void* saved_mean, const void* saved_inv_std,
                   const void* gamma, const void* beta, const ActivationShape& shape,
                   const BatchNormOptions& options, const RowRange& rows, const Launch& launch);
  void (*finish_grad)(void* dgamma, void* dbeta, const ChannelSums& sums, const void* saved_inv_std,
                      const ActivationShape& shape);
  /// `batch` is the number of images in all blocks. stream_dresidual: dresidual is overwritten with
  /// stores that bypass the cache.
  void (*apply_grad)(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                     bool stream_dresidual, const void* dgamma, const void* dbeta, const void* dy,
                     const void* x, const void* y, const void* saved_mean,
                     const void* saved_inv_std, const void* gamma, const void* beta, int64_t batch,
                     const ActivationShape& shape, const BatchNormOptions& options,
                     const RowRange& rows, const Launch& launch);
};

struct BatchNormKernels {
  size_t (*workspace_bytes)(const ActivationShape&, int64_t max_batch);

  /// Writes y, saved_mean and saved_inv_std, and updates running_mean and running_var in place.
  /// residual may be null. `sums` are the channel sums that the producer of x left. They may be
  /// null or empty, and the kernel then reads x to compute them. Backends whose convolutions offer
  /// no sums ignore the argument.
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

  /// Gradient of forward_train. y is the output of forward_train; it is given if a residual took
  /// part and null otherwise. Without y, the gate of the ReLU is recomputed from x. dx (=, +=) and
  /// dresidual (=, +=) are null if they do not exist or need no gradient; dgamma and dbeta are
  /// overwritten. Padded lanes of dx are written as exactly 0.
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

  BatchNormBlockKernels on_blocks = {};  ///< null pointers if the backend has none
};

}  // namespace sculpt::kernels
