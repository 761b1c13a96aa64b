// Batch norm, bound by memory bandwidth. Bytes moved per element of type T (no FLOPs worth
// counting):
//
//   forward, training     x twice, y once (+ residual once)
//   forward, evaluation   x once, y once (+ residual once)
//   backward              dy and x twice (y too where it tells the gate), dx and dresidual once;
//                         accumulating reads what it writes
//
// Training runs in three kernels: two sums per channel and chunk of rows, into the workspace; one
// block per channel adds the chunks and finishes the statistics; one pass writes the output. Sums
// are float within a thread, double across threads, in an order that only the shape decides.

#include <cmath>

#include "kernels/common/batch_norm_check.h"
#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {
namespace {

/// Where a channel's mean and inverse standard deviation come from: saved_inv_std or running_var.
struct Statistics {
  const float* mean;
  const float* inv_std;
  const float* var;  // null where inv_std is given
  float eps;

  __device__ float inv_std_of(int channel) const {
    return var == nullptr ? inv_std[channel] : 1.0f / sqrtf(var[channel] + eps);
  }
};

/// What z depends on besides x and the residual.
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

  __device__ ChannelMap(const Affine& affine, int channel) {
    for (int i = 0; i < N; ++i) {
      mean[i] = affine.statistics.mean[channel + i];
      scale[i] = affine.gamma[channel + i] * affine.statistics.inv_std_of(channel + i);
      beta[i] = affine.beta[channel + i];
    }
  }
  /// The only place that computes z: the backward pass calls it again to see where ReLU cut, and
  /// must get the same bits.
  __device__ float operator()(int i, float x) const { return fmaf(x - mean[i], scale[i], beta[i]); }
};

/// Writes a block's two sums per channel: partials[which][channel][chunk].
template <int N>
__device__ void write_partials(double* partials, double (&sums)[2 * N], const Tiling& tiling,
                               int channel) {
  __shared__ double shared[2 * N * kThreads];
  sum_over_rows(sums, shared, tiling);
  if (static_cast<int>(threadIdx.x) >= tiling.tile || channel >= tiling.channels) return;
  for (int i = 0; i < 2 * N; ++i)
    partials[(static_cast<int64_t>(i / N) * tiling.channels + channel + i % N) * gridDim.x +
             blockIdx.x] = sums[i];
}

/// Sums of x and x^2. A thread sums in float what is left after subtracting its first value, so
/// that x^2 does not swamp the variance, and undoes that in double.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    sum_values(double* partials, const T* __restrict__ x, const Tiling tiling) {
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  double sums[2 * N] = {};
  if (at.row < at.row_end) {
    const Floats<N> shift = load_floats<N>(x + at.row * tiling.channels + at.channel);
    Floats<N> sum = {}, squares = {};
    int count = 0;
    SCULPT_UNROLL_BY(4)
    for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
      const Floats<N> value = load_floats<N>(x + row * tiling.channels + at.channel);
      for (int i = 0; i < N; ++i) {
        const float centred = value.at[i] - shift.at[i];
        sum.at[i] += centred;
        squares.at[i] = fmaf(centred, centred, squares.at[i]);
      }
      ++count;
    }
    for (int i = 0; i < N; ++i) {
      const double s = shift.at[i], first = sum.at[i];
      sums[i] = count * s + first;
      sums[N + i] = (count * s + 2 * first) * s + static_cast<double>(squares.at[i]);
    }
  }
  write_partials<N>(partials, sums, tiling, at.channel);
}

/// One of a channel's two totals; valid in thread 0.
__device__ double sum_chunks(const double* partials, int which, int chunks, double* shared) {
  const int channels = static_cast<int>(gridDim.x), channel = static_cast<int>(blockIdx.x);
  const double* from = partials + (static_cast<int64_t>(which) * channels + channel) * chunks;
  double sum = 0;
  for (int chunk = static_cast<int>(threadIdx.x); chunk < chunks; chunk += kThreads)
    sum += from[chunk];
  return block_sum(sum, shared);
}

/// One block per channel.
__global__ void __launch_bounds__(kThreads)
    finish_statistics(float* saved_mean, float* saved_inv_std, float* running_mean,
                      float* running_var, const double* partials, int chunks, double count,
                      double eps, double momentum) {
  __shared__ double shared[kThreads / kWarp];
  const double sum = sum_chunks(partials, 0, chunks, shared);
  const double sum_of_squares = sum_chunks(partials, 1, chunks, shared);
  if (threadIdx.x != 0) return;
  const int c = static_cast<int>(blockIdx.x);
  const double mean = sum / count;
  double squares = sum_of_squares - sum * mean;
  squares = squares < 0 ? 0 : squares;
  saved_mean[c] = static_cast<float>(mean);
  saved_inv_std[c] = static_cast<float>(1 / sqrt(squares / count + eps));
  running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * mean);
  running_var[c] =
      static_cast<float>((1 - momentum) * running_var[c] + momentum * squares / (count - 1));
}

/// residual may be null.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    normalise(T* y, const T* __restrict__ x, const T* __restrict__ residual, const Affine affine,
              bool relu, const Tiling tiling) {
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  if (at.row >= at.row_end) return;
  const ChannelMap<N> map(affine, at.channel);
  for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
    const int64_t offset = row * tiling.channels + at.channel;
    Floats<N> z = load_floats<N>(x + offset);
    for (int i = 0; i < N; ++i)
      z.at[i] = map(i, z.at[i]);
    if (residual != nullptr) {
      const Floats<N> extra = load_floats<N>(residual + offset);
      for (int i = 0; i < N; ++i)
        z.at[i] += extra.at[i];
    }
    if (relu)
      for (int i = 0; i < N; ++i)
        z.at[i] = z.at[i] < 0 ? 0 : z.at[i];  // NaN stays NaN
    store_floats(y + offset, z);
  }
}

// Backward. With g = dy where ReLU let z pass (all of dy without ReLU), M values per channel and
// xhat = (x - mean) * inv_std:
//
//   dbeta = sum g;   dgamma = sum g * xhat;   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g

/// Where ReLU's cut is read from.
enum class Gate { none, from_x, from_y };

/// dy where ReLU let z pass.
template <Gate kGate, class T, int N>
__device__ Floats<N> gated(const T* dy, const T* y, const Floats<N>& x, const ChannelMap<N>& map,
                           int64_t offset) {
  Floats<N> g = load_floats<N>(dy + offset);
  if constexpr (kGate == Gate::from_y) {
    const Floats<N> output = load_floats<N>(y + offset);
    for (int i = 0; i < N; ++i)
      g.at[i] = output.at[i] > 0 ? g.at[i] : 0;
  }
  if constexpr (kGate == Gate::from_x)
    for (int i = 0; i < N; ++i)
      g.at[i] = map(i, x.at[i]) > 0 ? g.at[i] : 0;
  return g;
}

/// Sums of g and g * (x - mean).
template <class T, int N, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    sum_gradients(double* partials, const T* __restrict__ dy, const T* __restrict__ x,
                  const T* __restrict__ y, const Affine affine, const Tiling tiling) {
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  double sums[2 * N] = {};
  if (at.row < at.row_end) {
    const ChannelMap<N> map(affine, at.channel);
    Floats<N> sum = {}, products = {};
    SCULPT_UNROLL_BY(2)
    for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
      const int64_t offset = row * tiling.channels + at.channel;
      const Floats<N> value = load_floats<N>(x + offset);
      const Floats<N> g = gated<kGate>(dy, y, value, map, offset);
      for (int i = 0; i < N; ++i) {
        sum.at[i] += g.at[i];
        products.at[i] = fmaf(g.at[i], value.at[i] - map.mean[i], products.at[i]);
      }
    }
    for (int i = 0; i < N; ++i) {
      sums[i] = static_cast<double>(sum.at[i]);
      sums[N + i] = static_cast<double>(products.at[i]);
    }
  }
  write_partials<N>(partials, sums, tiling, at.channel);
}

/// One block per channel.
__global__ void __launch_bounds__(kThreads)
    finish_gradients(float* dgamma, float* dbeta, const double* partials, int chunks,
                     const Statistics statistics) {
  __shared__ double shared[kThreads / kWarp];
  const double sum = sum_chunks(partials, 0, chunks, shared);
  const double products = sum_chunks(partials, 1, chunks, shared);
  if (threadIdx.x != 0) return;
  const int c = static_cast<int>(blockIdx.x);
  dbeta[c] = static_cast<float>(sum);
  dgamma[c] = static_cast<float>(products * static_cast<double>(statistics.inv_std_of(c)));
}

/// Where write_gradients puts its results; dresidual may be null.
template <class T>
struct GradientsTo {
  T* dx;
  T* dresidual;
  bool accumulate_dx;
  bool accumulate_dresidual;
};

/// inv_count: 1 / M, or 0 where the statistics are constants.
template <class T, int N, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    write_gradients(const GradientsTo<T> to, const T* __restrict__ dy, const T* __restrict__ x,
                    const T* __restrict__ y, const float* dgamma, const float* dbeta,
                    float inv_count, const Affine affine, const Tiling tiling) {
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  if (at.row >= at.row_end) return;
  const ChannelMap<N> map(affine, at.channel);
  float mean_g[N], slope[N];
  for (int i = 0; i < N; ++i) {
    const int c = at.channel + i;
    mean_g[i] = dbeta[c] * inv_count;
    slope[i] = dgamma[c] * affine.statistics.inv_std_of(c) * inv_count;
  }
  for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
    const int64_t offset = row * tiling.channels + at.channel;
    const Floats<N> value = load_floats<N>(x + offset);
    const Floats<N> g = gated<kGate>(dy, y, value, map, offset);
    Floats<N> dx;
    for (int i = 0; i < N; ++i)
      dx.at[i] = map.scale[i] * (g.at[i] - mean_g[i] - (value.at[i] - map.mean[i]) * slope[i]);
    if (to.dresidual != nullptr) write_floats(to.dresidual + offset, g, to.accumulate_dresidual);
    write_floats(to.dx + offset, dx, to.accumulate_dx);
  }
}

// Enough blocks to fill a large GPU several times over, but threads that see too few rows spend
// their time on adding up blocks, and ones that see too many lose bits in their float sums.
constexpr int64_t kBlocks = 1024;
constexpr int64_t kMinRowsPerThread = 8;
constexpr int64_t kMaxRowsPerThread = 256;

Tiling tiling_for(const ActivationShape& shape, int64_t batch, int vector) {
  const int64_t groups = ceil_div(shape.channels, vector);
  Tiling t;
  t.rows = batch * shape.height * shape.width;
  t.channels = static_cast<int>(shape.channels);
  t.tile = channel_tile(groups);
  t.tile_rows = kThreads / t.tile;
  const int64_t walks = ceil_div(t.rows, t.tile_rows);  // of one thread, were there one chunk
  int64_t rows_per_thread = ceil_div(walks * ceil_div(groups, t.tile), kBlocks);
  if (rows_per_thread < kMinRowsPerThread) rows_per_thread = kMinRowsPerThread;
  if (rows_per_thread > kMaxRowsPerThread) rows_per_thread = kMaxRowsPerThread;
  t.chunk_rows = rows_per_thread * t.tile_rows;
  return t;
}

dim3 grid_of(const Tiling& t, int vector) {
  return dim3(static_cast<unsigned>(t.chunks()),
              static_cast<unsigned>(ceil_div(t.channels, int64_t{t.tile} * vector)));
}

template <class T>
size_t workspace_bytes(const ActivationShape& shape, int64_t max_batch) {
  size_t bytes = 0;
  with_vector<T>(shape.channels, [&](auto vector) {
    // A smaller batch has at most as many chunks, or as many as fit kBlocks blocks.
    const Tiling t = tiling_for(shape, max_batch, vector);
    const int64_t most = kBlocks / grid_of(t, vector).y + 1;
    const int64_t chunks = t.chunks() > most ? t.chunks() : most;
    bytes = static_cast<size_t>(2 * shape.channels * chunks) * sizeof(double);
  });
  return bytes;
}

/// y := the normalised x; residual may be null.
template <class T>
void normalise_all(void* y, const void* x, const void* residual, const Affine& affine,
                   const ActivationShape& shape, bool relu, const Launch& launch) {
  with_vector<T>(shape.channels, [&](auto vector) {
    const Tiling tiling = tiling_for(shape, launch.batch, vector);
    SCULPT_LAUNCH((normalise<T, vector>), grid_of(tiling, vector), dim3(kThreads), 0, launch.stream,
                  static_cast<T*>(y), static_cast<const T*>(x), static_cast<const T*>(residual),
                  affine, relu, tiling);
  });
}

const float* floats(const void* p) {
  return static_cast<const float*>(p);
}
float* floats(void* p) {
  return static_cast<float*>(p);
}

template <class T>
void forward_train(void* y, void* saved_mean, void* saved_inv_std, void* running_mean,
                   void* running_var, const void* x, const void* residual, const void* gamma,
                   const void* beta, const ActivationShape& shape, const BatchNormOptions& options,
                   void* workspace, const Launch& launch) {
  check_batch_norm_count(shape, launch.batch);
  auto* partials = static_cast<double*>(workspace);
  with_vector<T>(shape.channels, [&](auto vector) {
    const Tiling tiling = tiling_for(shape, launch.batch, vector);
    SCULPT_LAUNCH((sum_values<T, vector>), grid_of(tiling, vector), dim3(kThreads), 0,
                  launch.stream, partials, static_cast<const T*>(x), tiling);
    SCULPT_LAUNCH(finish_statistics, dim3(static_cast<unsigned>(shape.channels)), dim3(kThreads), 0,
                  launch.stream, floats(saved_mean), floats(saved_inv_std), floats(running_mean),
                  floats(running_var), partials, static_cast<int>(tiling.chunks()),
                  static_cast<double>(tiling.rows), static_cast<double>(options.eps),
                  static_cast<double>(options.momentum));
  });
  const Statistics statistics = {floats(saved_mean), floats(saved_inv_std), nullptr, 0};
  normalise_all<T>(y, x, residual, {statistics, floats(gamma), floats(beta)}, shape, options.relu,
                   launch);
}

template <class T>
void forward_eval(void* y, const void* x, const void* residual, const void* gamma, const void* beta,
                  const void* running_mean, const void* running_var, const ActivationShape& shape,
                  const BatchNormOptions& options, const Launch& launch) {
  const Statistics statistics = {floats(running_mean), nullptr, floats(running_var), options.eps};
  normalise_all<T>(y, x, residual, {statistics, floats(gamma), floats(beta)}, shape, options.relu,
                   launch);
}

/// Arguments of backward_train and backward_eval.
template <class T>
struct BackwardArgs {
  GradientsTo<T> to;
  float* dgamma;
  float* dbeta;
  const T* dy;
  const T* x;
  const T* y;
  Affine affine;
};

template <class T, int N, Gate kGate>
void backward_gated(const BackwardArgs<T>& args, bool constant_statistics,
                    const ActivationShape& shape, void* workspace, const Launch& launch) {
  auto* partials = static_cast<double*>(workspace);
  const Tiling tiling = tiling_for(shape, launch.batch, N);
  SCULPT_LAUNCH((sum_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0, launch.stream,
                partials, args.dy, args.x, args.y, args.affine, tiling);
  SCULPT_LAUNCH(finish_gradients, dim3(static_cast<unsigned>(shape.channels)), dim3(kThreads), 0,
                launch.stream, args.dgamma, args.dbeta, partials, static_cast<int>(tiling.chunks()),
                args.affine.statistics);
  const float inv_count = constant_statistics ? 0 : 1.0f / static_cast<float>(tiling.rows);
  SCULPT_LAUNCH((write_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0,
                launch.stream, args.to, args.dy, args.x, args.y, args.dgamma, args.dbeta, inv_count,
                args.affine, tiling);
}

template <class T>
void backward(const BackwardArgs<T>& args, bool relu, bool constant_statistics,
              const ActivationShape& shape, void* workspace, const Launch& launch) {
  with_vector<T>(shape.channels, [&](auto vector) {
    const auto run = !relu               ? backward_gated<T, vector, Gate::none>
                     : args.y != nullptr ? backward_gated<T, vector, Gate::from_y>
                                         : backward_gated<T, vector, Gate::from_x>;
    run(args, constant_statistics, shape, workspace, launch);
  });
}

template <class T>
void backward_train(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                    void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                    const void* saved_mean, const void* saved_inv_std, const void* gamma,
                    const void* beta, const ActivationShape& shape, const BatchNormOptions& options,
                    void* workspace, const Launch& launch) {
  const Statistics statistics = {floats(saved_mean), floats(saved_inv_std), nullptr, 0};
  const BackwardArgs<T> args = {
      {static_cast<T*>(dx), static_cast<T*>(dresidual), write_dx == GradWrite::accumulate,
       write_dresidual == GradWrite::accumulate},
      floats(dgamma),
      floats(dbeta),
      static_cast<const T*>(dy),
      static_cast<const T*>(x),
      static_cast<const T*>(y),
      {statistics, floats(gamma), floats(beta)}};
  backward(args, options.relu, false, shape, workspace, launch);
}

template <class T>
void backward_eval(void* dx, GradWrite write_dx, void* dresidual, GradWrite write_dresidual,
                   void* dgamma, void* dbeta, const void* dy, const void* x, const void* y,
                   const void* running_mean, const void* running_var, const void* gamma,
                   const void* beta, const ActivationShape& shape, const BatchNormOptions& options,
                   void* workspace, const Launch& launch) {
  const Statistics statistics = {floats(running_mean), nullptr, floats(running_var), options.eps};
  const BackwardArgs<T> args = {
      {static_cast<T*>(dx), static_cast<T*>(dresidual), write_dx == GradWrite::accumulate,
       write_dresidual == GradWrite::accumulate},
      floats(dgamma),
      floats(dbeta),
      static_cast<const T*>(dy),
      static_cast<const T*>(x),
      static_cast<const T*>(y),
      {statistics, floats(gamma), floats(beta)}};
  backward(args, options.relu, true, shape, workspace, launch);
}

}  // namespace

template <class T>
BatchNormKernels batch_norm_kernels() {
  return {workspace_bytes<T>, forward_train<T>, forward_eval<T>, backward_train<T>,
          backward_eval<T>};
}
template BatchNormKernels batch_norm_kernels<float>();
template BatchNormKernels batch_norm_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
