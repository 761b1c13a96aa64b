// Batch norm, backward, bound by memory bandwidth. dy and x are read twice (so is y where the gate
// is read from it), and dx and dresidual are written once. With accumulation, the outputs are read
// as well.
//
// With g = dy where ReLU let z pass (all of dy without ReLU), M values per channel and xhat = (x -
// mean) * inv_std:
//
//   dbeta = sum g;   dgamma = sum g * xhat;   dresidual = g
//   training:  dx = gamma * inv_std * (g - dbeta / M - xhat * dgamma / M)
//   eval:      dx = gamma * inv_std * g

#include "kernels/cuda/batch_norm/channels.h"

namespace sculpt::kernels::cuda {
namespace {

/// The array from which the gate of the ReLU is recomputed.
enum class Gate { none, from_x, from_y };

/// Returns dy where ReLU let z pass, and 0 elsewhere.
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

/// Computes the sums of g and of g * (x - mean).
template <class T, int N, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    sum_gradients(SumPair* partials, const T* __restrict__ dy, const T* __restrict__ x,
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

/// Writes dgamma and dbeta, with one block per channel.
__global__ void __launch_bounds__(kThreads)
    finish_gradients(float* dgamma, float* dbeta, const SumPair* partials, int chunks,
                     const Statistics statistics) {
  const SumPair total = sum_chunks(partials, chunks);  // the sums of g and of g * (x - mean)
  if (threadIdx.x != 0) return;
  const int c = static_cast<int>(blockIdx.x);
  dbeta[c] = static_cast<float>(total.at[0]);
  dgamma[c] = static_cast<float>(total.at[1] * static_cast<double>(statistics.inv_std_of(c)));
}

/// The destinations of write_gradients; dx and dresidual may be null.
template <class T>
struct GradientsTo {
  T* dx;
  T* dresidual;
  bool accumulate_dx;
  bool accumulate_dresidual;
};

/// inv_count is 1 / M, or 0 if the statistics are constants.
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
    if (to.dx != nullptr) write_floats(to.dx + offset, dx, to.accumulate_dx);
  }
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
  auto* partials = static_cast<SumPair*>(workspace);
  const Tiling tiling = tiling_for(shape, launch.batch, N);
  SCULPT_LAUNCH((sum_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0, launch.stream,
                partials, args.dy, args.x, args.y, args.affine, tiling);
  SCULPT_LAUNCH(finish_gradients, dim3(static_cast<unsigned>(shape.channels)), dim3(kThreads), 0,
                launch.stream, args.dgamma, args.dbeta, partials, static_cast<int>(tiling.chunks()),
                args.affine.statistics);
  if (args.to.dx == nullptr && args.to.dresidual == nullptr) return;
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

}  // namespace

template <class T>
void batch_norm_backward_train(void* dx, GradWrite write_dx, void* dresidual,
                               GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                               const void* x, const void* y, const void* saved_mean,
                               const void* saved_inv_std, const void* gamma, const void* beta,
                               const ActivationShape& shape, const BatchNormOptions& options,
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
void batch_norm_backward_eval(void* dx, GradWrite write_dx, void* dresidual,
                              GradWrite write_dresidual, void* dgamma, void* dbeta, const void* dy,
                              const void* x, const void* y, const void* running_mean,
                              const void* running_var, const void* gamma, const void* beta,
                              const ActivationShape& shape, const BatchNormOptions& options,
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

template void batch_norm_backward_train<float>(void*, GradWrite, void*, GradWrite, void*, void*,
                                               const void*, const void*, const void*, const void*,
                                               const void*, const void*, const void*,
                                               const ActivationShape&, const BatchNormOptions&,
                                               void*, const Launch&);
template void batch_norm_backward_train<bf16>(void*, GradWrite, void*, GradWrite, void*, void*,
                                              const void*, const void*, const void*, const void*,
                                              const void*, const void*, const void*,
                                              const ActivationShape&, const BatchNormOptions&,
                                              void*, const Launch&);
template void batch_norm_backward_eval<float>(void*, GradWrite, void*, GradWrite, void*, void*,
                                              const void*, const void*, const void*, const void*,
                                              const void*, const void*, const void*,
                                              const ActivationShape&, const BatchNormOptions&,
                                              void*, const Launch&);
template void batch_norm_backward_eval<bf16>(void*, GradWrite, void*, GradWrite, void*, void*,
                                             const void*, const void*, const void*, const void*,
                                             const void*, const void*, const void*,
                                             const ActivationShape&, const BatchNormOptions&, void*,
                                             const Launch&);

}  // namespace sculpt::kernels::cuda
