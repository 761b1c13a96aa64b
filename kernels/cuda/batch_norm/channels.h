#pragma once
// Shared parts of the passes of batch norm: the affine map of a channel, and sums over a channel in
// two stages. Rows are the pixels of the whole batch; a block sums chunks of them.

#include "kernels/batch_norm.h"
#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {

/// The source of a channel's mean and inverse standard deviation, which comes from saved_inv_std or
/// from running_var.
struct Statistics {
  const float* mean;
  const float* inv_std;
  const float* var;  // null if inv_std is given
  float eps;

  __device__ float inv_std_of(int channel) const {
    return var == nullptr ? inv_std[channel] : 1.0f / sqrtf(var[channel] + eps);
  }
};

/// All values that z depends on besides x and the residual.
struct Affine {
  Statistics statistics;
  const float* gamma;
  const float* beta;
};

/// z = (x - mean) * scale + beta with scale = gamma * inv_std, for N channels in registers.
template <int N>
struct ChannelMap {
  float mean[N];
  float scale[N];
  float beta[N];

  ChannelMap() = default;
  __device__ ChannelMap(const Affine& affine, int channel) {
    for (int i = 0; i < N; ++i) {
      mean[i] = affine.statistics.mean[channel + i];
      scale[i] = affine.gamma[channel + i] * affine.statistics.inv_std_of(channel + i);
      beta[i] = affine.beta[channel + i];
    }
  }
  /// This is the only function that computes z. The backward pass calls it again to find out where
  /// ReLU cut, and must get the same bits.
  __device__ float operator()(int i, float x) const { return fmaf(x - mean[i], scale[i], beta[i]); }
};

/// Returns max(z, 0). NaN stays NaN.
__device__ __forceinline__ float relu_of(float z) {
  return z < 0 ? 0 : z;
}

/// Writes a block's two sums per channel, `sums[i]` and `sums[N + i]`, to partials[channel][chunk].
template <int N>
__device__ void write_partials(SumPair* partials, double (&sums)[2 * N], const Tiling& tiling,
                               int channel) {
  __shared__ double shared[2 * N * kThreads];
  sum_over_rows(sums, shared, tiling);
  if (static_cast<int>(threadIdx.x) >= tiling.tile || channel >= tiling.channels) return;
  for (int i = 0; i < N; ++i)
    partials[static_cast<int64_t>(channel + i) * gridDim.x + blockIdx.x] = {{sums[i], sums[N + i]}};
}

/// Returns the totals of channel blockIdx.x; the result is valid in thread 0.
__device__ inline SumPair sum_chunks(const SumPair* partials, int chunks) {
  __shared__ double shared[kThreads / kWarp];
  const SumPair* from = partials + static_cast<int64_t>(blockIdx.x) * chunks;
  SumPair total = {};
  SCULPT_UNROLL_BY(8)  // there are few blocks, so each keeps many loads in flight
  for (int chunk = static_cast<int>(threadIdx.x); chunk < chunks; chunk += kThreads) {
    const SumPair part = from[chunk];
    total.at[0] += part.at[0];
    total.at[1] += part.at[1];
  }
  for (double& sum : total.at)
    sum = block_sum(sum, shared);
  return total;
}

/// Writes the totals of the channels to totals[channel], with one block per channel.
inline __global__ void __launch_bounds__(kThreads)
    add_chunks(SumPair* totals, const SumPair* partials, int chunks) {
  follow_previous_kernels();
  const SumPair total = sum_chunks(partials, chunks);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

/// Sums of the channels: [channels][chunks], in the device's memory.
struct ChannelPartials {
  const SumPair* partials;
  int64_t chunks;
};

/// The workspace begins with a pair of totals per channel; partial sums follow.
inline SumPair* totals_in(void* workspace) {
  return static_cast<SumPair*>(workspace);
}
inline SumPair* partials_in(void* workspace, int64_t channels) {
  return totals_in(workspace) + channels;
}

/// If processes share the batch, writes the totals of all processes to the workspace and returns
/// them. Otherwise, returns the sums as they are.
inline ChannelPartials sum_over_processes(const SharedBatch* shared, const ChannelPartials& sums,
                                          void* workspace, int64_t channels, void* stream) {
  if (shared == nullptr) return sums;
  SumPair* const totals = totals_in(workspace);
  SCULPT_LAUNCH(add_chunks, dim3(static_cast<unsigned>(channels)), dim3(kThreads), 0, stream,
                totals, sums.partials, static_cast<int>(sums.chunks));
  shared->add_up(shared->context, totals->at, 2 * channels, stream);
  return {totals, 1};
}

// There should be enough blocks to fill a large GPU several times over. But threads with too few
// rows spend their time on adding up blocks, and threads with too many rows lose bits in their
// float sums.
constexpr int64_t kBlocks = 1024;
constexpr int64_t kMinRowsPerThread = 8;
constexpr int64_t kMaxRowsPerThread = 256;

inline Tiling tiling_for(const ActivationShape& shape, int64_t batch, int vector) {
  const int64_t groups = ceil_div(shape.channels, vector);
  Tiling t;
  t.rows = batch * shape.height * shape.width;
  t.channels = static_cast<int>(shape.channels);
  t.tile = channel_tile(groups);
  t.tile_rows = kThreads / t.tile;
  const int64_t walks = ceil_div(t.rows, t.tile_rows);  // of one thread, if there were one chunk
  int64_t rows_per_thread = ceil_div(walks * ceil_div(groups, t.tile), kBlocks);
  if (rows_per_thread < kMinRowsPerThread) rows_per_thread = kMinRowsPerThread;
  if (rows_per_thread > kMaxRowsPerThread) rows_per_thread = kMaxRowsPerThread;
  t.chunk_rows = rows_per_thread * t.tile_rows;
  return t;
}

inline dim3 grid_of(const Tiling& t, int vector) {
  return dim3(static_cast<unsigned>(t.chunks()),
              static_cast<unsigned>(ceil_div(t.channels, int64_t{t.tile} * vector)));
}

inline const float* floats(const void* p) {
  return static_cast<const float*>(p);
}
inline float* floats(void* p) {
  return static_cast<float*>(p);
}

/// The statistics of the batch, as the forward pass saved them, and the running ones. Args is
/// BatchNormForward or BatchNormBackward.
template <class Args>
Affine saved_affine(const Args& args) {
  return {{floats(args.saved_mean), floats(args.saved_inv_std), nullptr, 0},
          floats(args.gamma),
          floats(args.beta)};
}
template <class Args>
Affine running_affine(const Args& args) {
  return {{floats(args.running_mean), nullptr, floats(args.running_var), args.options.eps},
          floats(args.gamma),
          floats(args.beta)};
}

// The backward passes of BatchNormKernels.
template <class T>
void batch_norm_backward_train(const BatchNormBackward& args);
template <class T>
void batch_norm_backward_eval(const BatchNormBackward& args);

}  // namespace sculpt::kernels::cuda
