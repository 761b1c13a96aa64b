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
//
// If several processes share a batch (SharedBatch), training uses the statistics of the whole
// batch. running_mean must then be the same in all processes, and the gradients dgamma and dbeta
// are those of the whole batch in every process.

#include <cstddef>

#include "kernels/channel_sums.h"
#include "kernels/common/layout.h"
#include "kernels/common/shared_batch.h"

namespace sculpt::kernels {

struct BatchNormOptions {
  float eps = 1e-5f;
  float momentum = 0.1f;
  bool relu = false;
};

/// Arguments of the forward kernels. Each kernel lists the members that it reads; it ignores all
/// others.
struct BatchNormForward {
  /// Null: only the statistics are wanted (kernels/conv_norm.h). Backends without ConvNormKernels
  /// need y.
  void* y = nullptr;
  const void* x = nullptr;
  const void* residual = nullptr;  ///< null: no residual is added
  const void* gamma = nullptr;     ///< [channels]
  const void* beta = nullptr;      ///< [channels]
  void* saved_mean = nullptr;      ///< [channels]: the batch's mean, for the backward pass
  void* saved_inv_std = nullptr;   ///< [channels]: the batch's inv_std, for the backward pass
  void* running_mean = nullptr;    ///< [channels]
  void* running_var = nullptr;     ///< [channels]: the unbiased variance
  /// If it is not null, z passes where the gate is positive, and y is 0 elsewhere, in the place of
  /// the ReLU. Read by forward_train and forward_eval only.
  const void* gate = nullptr;
  /// The channel sums that the producer of x left. If they are null or empty, the kernel reads x to
  /// compute them. Backends whose convolutions offer no sums ignore this member.
  const ChannelSums* sums = nullptr;
  /// Null: the batch is not shared. Read by forward_train and on_blocks.finish only.
  const SharedBatch* shared = nullptr;
  ActivationShape shape;
  BatchNormOptions options = {};
  void* workspace = nullptr;  ///< BatchNormKernels::workspace_bytes()
  Launch launch;

  /// The number of images whose statistics are computed.
  int64_t images() const { return shared != nullptr ? shared->images : launch.batch; }
};

/// Arguments of the backward kernels. Each kernel lists the members that it reads; it ignores all
/// others.
struct BatchNormBackward {
  /// Null: x needs no gradient, or the convolution before computes it (kernels/conv_norm.h). Padded
  /// lanes become exactly 0.
  void* dx = nullptr;
  /// Null: there is no residual, it needs no gradient, or the convolution before computes it.
  void* dresidual = nullptr;
  GradWrite write_dx = GradWrite::overwrite;
  GradWrite write_dresidual = GradWrite::overwrite;
  void* dgamma = nullptr;  ///< [channels]
  void* dbeta = nullptr;   ///< [channels]
  const void* dy = nullptr;
  const void* x = nullptr;
  /// The activation whose sign is the gate of the ReLU: given if a residual took part in the
  /// forward pass, or if the gate is held. If y is null, the kernel recomputes the gate from x.
  const void* y = nullptr;
  const void* gamma = nullptr;          ///< [channels]
  const void* beta = nullptr;           ///< [channels]
  const void* saved_mean = nullptr;     ///< [channels]: as forward_train wrote it
  const void* saved_inv_std = nullptr;  ///< [channels]: as forward_train wrote it
  const void* running_mean = nullptr;   ///< [channels]
  const void* running_var = nullptr;    ///< [channels]
  /// The sums that the producer of dy left. If they are null or empty, the kernel reads dy and x to
  /// compute them. Read by backward_train only. Backends without kernels that leave such sums
  /// ignore this member.
  const GradientSums* sums = nullptr;
  /// Null: the batch is not shared. Read by backward_train and on_blocks.finish_grad only.
  const SharedBatch* shared = nullptr;
  ActivationShape shape;
  BatchNormOptions options = {};
  void* workspace = nullptr;  ///< BatchNormKernels::workspace_bytes()
  Launch launch;

  /// The number of images whose statistics the forward pass computed.
  int64_t images() const { return shared != nullptr ? shared->images : launch.batch; }
};

/// forward_train and backward_train below, split into parts. The parts let some rows of a block of
/// images pass through several ops while these rows are in cache: call `sum` for all rows, `finish`
/// once, then `apply` for all rows. Within `sum` and within `apply`, rows may be processed in any
/// order. Each call runs on the calling thread alone, and the results are the same bits as those of
/// the whole kernels.
///
/// In `sum`, `apply` and their gradients, the activation pointers of the arguments point at the
/// block, and launch.batch is the number of its images, at most Backend::lanes. In `finish` and
/// `finish_grad`, launch.batch is the number of images in all blocks. `rows` begin and end at bands
/// (band_rows()). No part needs a workspace.
struct BatchNormBlockKernels {
  /// Writes chunks of two partial sums of x, one chunk for each band of rows; only `finish` reads
  /// them. The chunks of block `block` are [block * bands_of(shape), (block + 1) *
  /// bands_of(shape)). If x_copy is not null, the rows of x are also written there, with stores
  /// that bypass the cache. Reads x, shape and launch.
  void (*sum)(const BatchNormForward& args, const ChannelSums& sums, int64_t block,
              const RowRange& rows, void* x_copy);
  /// Computes the statistics from the sums of all blocks, which it may overwrite. Reads shape,
  /// options, shared and launch; writes saved_* and updates running_*.
  void (*finish)(const BatchNormForward& args, const ChannelSums& sums);
  /// Writes y. If y_copy is not null, the rows of y are also written there, with stores that bypass
  /// the cache. Reads x, residual, gamma, beta, saved_*, shape, options and launch.
  void (*apply)(const BatchNormForward& args, const RowRange& rows, void* y_copy);

  /// Writes chunks of two partial sums, from which finish_grad computes the gradients. If dy_copy
  /// is not null, the rows of dy are also written there, with stores that bypass the cache. Reads
  /// dy, x, y, gamma, beta, saved_*, shape, options and launch.
  void (*sum_grad)(const BatchNormBackward& args, const ChannelSums& sums, int64_t block,
                   const RowRange& rows, void* dy_copy);
  /// Overwrites dgamma and dbeta, and may overwrite the sums. Reads saved_inv_std, shared and
  /// shape.
  void (*finish_grad)(const BatchNormBackward& args, const ChannelSums& sums);
  /// Writes dx and dresidual. `batch` is the number of images in all blocks of all processes. With
  /// stream_dresidual, dresidual is overwritten with stores that bypass the cache. Reads all
  /// members but running_* and the workspace.
  void (*apply_grad)(const BatchNormBackward& args, int64_t batch, const RowRange& rows,
                     bool stream_dresidual);
};

struct BatchNormKernels {
  size_t (*workspace_bytes)(const ActivationShape&, int64_t max_batch);

  /// Writes y unless it is null, saved_mean and saved_inv_std, and updates running_mean and
  /// running_var in place.
  /// Reads all members.
  void (*forward_train)(const BatchNormForward& args);

  /// Writes y, unless it is null, from the running statistics, which it only reads. Ignores
  /// saved_*, sums and the workspace.
  void (*forward_eval)(const BatchNormForward& args);

  /// Gradient of forward_train. Writes dx and dresidual, and overwrites dgamma and dbeta. Ignores
  /// running_*.
  void (*backward_train)(const BatchNormBackward& args);

  /// Gradient of forward_eval, in which the running statistics are constants. Ignores saved_* and
  /// sums. If dgamma and dbeta are null, only dx and dresidual are written, which saves a pass over
  /// dy and x.
  void (*backward_eval)(const BatchNormBackward& args);

  BatchNormBlockKernels on_blocks = {};  ///< null pointers if the backend has none
};

}  // namespace sculpt::kernels
