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
  follow_previous_kernels();
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
  follow_previous_kernels();
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

/// The sums that dx depends on.
struct GradientSums {
  const float* dgamma;
  const float* dbeta;
  float inv_count;  // 1 / M, or 0 if the statistics are constants
};

template <class T, int N, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    write_gradients(const GradientsTo<T> to, const T* __restrict__ dy, const T* __restrict__ x,
                    const T* __restrict__ y, const GradientSums sums, const Affine affine,
                    const Tiling tiling) {
  follow_previous_kernels();
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  if (at.row >= at.row_end) return;
  const ChannelMap<N> map(affine, at.channel);
  float mean_g[N], slope[N];
  for (int i = 0; i < N; ++i) {
    const int c = at.channel + i;
    const bool none = sums.inv_count == 0;  // the sums may be missing then
    mean_g[i] = none ? 0 : sums.dbeta[c] * sums.inv_count;
    slope[i] = none ? 0 : sums.dgamma[c] * affine.statistics.inv_std_of(c) * sums.inv_count;
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

template <class T, int N, Gate kGate>
void backward_gated(const BatchNormBackward& args, const Affine& affine, bool constant_statistics) {
  const SharedBatch* const shared = constant_statistics ? nullptr : args.shared;
  const int64_t images = constant_statistics ? args.launch.batch : args.images();
  const auto* dy = static_cast<const T*>(args.dy);
  const auto* x = static_cast<const T*>(args.x);
  const auto* y = static_cast<const T*>(args.y);
  SumPair* const partials = partials_in(args.workspace, args.shape.channels);
  const Tiling tiling = tiling_for(args.shape, args.launch.batch, N);
  // If the statistics are constant, dx does not depend on the sums, so the sums are needed for the
  // gradients of gamma and beta only.
  if (!constant_statistics || args.dgamma != nullptr) {
    SCULPT_LAUNCH((sum_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0,
                  args.launch.stream, partials, dy, x, y, affine, tiling);
    const ChannelPartials sums =
        sum_over_processes(shared, {partials, tiling.chunks()}, args.workspace, args.shape.channels,
                           args.launch.stream);
    SCULPT_LAUNCH(finish_gradients, dim3(static_cast<unsigned>(args.shape.channels)),
                  dim3(kThreads), 0, args.launch.stream, floats(args.dgamma), floats(args.dbeta),
                  sums.partials, static_cast<int>(sums.chunks), affine.statistics);
  }
  if (args.dx == nullptr && args.dresidual == nullptr) return;
  const GradientsTo<T> to = {static_cast<T*>(args.dx), static_cast<T*>(args.dresidual),
                             args.write_dx == GradWrite::accumulate,
                             args.write_dresidual == GradWrite::accumulate};
  const int64_t count = images * args.shape.height * args.shape.width;
  const GradientSums terms = {floats(args.dgamma), floats(args.dbeta),
                              constant_statistics ? 0 : 1.0f / static_cast<float>(count)};
  SCULPT_LAUNCH((write_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0,
                args.launch.stream, to, dy, x, y, terms, affine, tiling);
}

template <class T>
void backward(const BatchNormBackward& args, const Affine& affine, bool constant_statistics) {
  with_vector<T>(args.shape.channels, [&](auto vector) {
    const auto run = !args.options.relu  ? backward_gated<T, vector, Gate::none>
                     : args.y != nullptr ? backward_gated<T, vector, Gate::from_y>
                                         : backward_gated<T, vector, Gate::from_x>;
    run(args, affine, constant_statistics);
  });
}

}  // namespace

template <class T>
void batch_norm_backward_train(const BatchNormBackward& args) {
  backward<T>(args, saved_affine(args), false);
}

template <class T>
void batch_norm_backward_eval(const BatchNormBackward& args) {
  backward<T>(args, running_affine(args), true);
}

template void batch_norm_backward_train<float>(const BatchNormBackward&);
template void batch_norm_backward_train<bf16>(const BatchNormBackward&);
template void batch_norm_backward_eval<float>(const BatchNormBackward&);
template void batch_norm_backward_eval<bf16>(const BatchNormBackward&);

}  // namespace sculpt::kernels::cuda
