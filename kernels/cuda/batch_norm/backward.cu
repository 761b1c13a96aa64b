// Batch norm, backward, bound by memory bandwidth. dy and x are read twice (so is y where the gate
// is read from it), and dx and dresidual are written once. With accumulation, the outputs are read
// as well. The first time is saved where the producer of dy has left the sums.
//
//   dbeta = sum g;   dgamma = sum g * xhat
//
// gradient_map.h defines g and xhat, and the map from dy to dx and dresidual.

#include "kernels/cuda/batch_norm/gradient_map.h"

namespace sculpt::kernels::cuda {
namespace {

/// Returns g at `offset`, where x has these values.
template <Gate kGate, class T, int N>
__device__ __forceinline__ Floats<N> load_gated(const T* dy, const T* y, const Floats<N>& x,
                                                const ChannelMap<N>& map, int64_t offset) {
  Floats<N> output = {};
  if constexpr (kGate == Gate::from_y) output = load_floats<N>(y + offset);
  return gated(kGate, load_floats<N>(dy + offset), output, x, map);
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
      const Floats<N> g = load_gated<kGate>(dy, y, value, map, offset);
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

template <class T, int N, Gate kGate>
__global__ void __launch_bounds__(kThreads)
    write_gradients(const GradientsTo<T> to, const T* __restrict__ dy, const T* __restrict__ x,
                    const T* __restrict__ y, const GradientTerms terms, const Affine affine,
                    const Tiling tiling) {
  follow_previous_kernels();
  const Place at = place<N>(tiling, blockIdx.x, static_cast<int>(blockIdx.y));
  if (at.row >= at.row_end) return;
  const GradientMap<N> map(affine, terms, at.channel);
  for (int64_t row = at.row; row < at.row_end; row += tiling.tile_rows) {
    const int64_t offset = row * tiling.channels + at.channel;
    const Floats<N> value = load_floats<N>(x + offset);
    const Floats<N> g = load_gated<kGate>(dy, y, value, map.map, offset);
    Floats<N> dx;
    for (int i = 0; i < N; ++i)
      dx.at[i] = map.dx(i, g.at[i], value.at[i]);
    if (to.dresidual != nullptr) write_floats(to.dresidual + offset, g, to.accumulate_dresidual);
    if (to.dx != nullptr) write_floats(to.dx + offset, dx, to.accumulate_dx);
  }
}

template <class T, int N, Gate kGate>
void backward_gated(const BatchNormBackward& args, const Affine& affine, bool constant_statistics) {
  const SharedBatch* const shared = constant_statistics ? nullptr : args.shared;
  const auto* dy = static_cast<const T*>(args.dy);
  const auto* x = static_cast<const T*>(args.x);
  const auto* y = static_cast<const T*>(args.y);
  SumPair* const partials = partials_in(args.workspace, args.shape.channels);
  const Tiling tiling = tiling_for(args.shape, args.launch.batch, N);
  // If the statistics are constant, dx does not depend on the sums, so the sums are needed for the
  // gradients of gamma and beta only.
  if (!constant_statistics || args.dgamma != nullptr) {
    ChannelPartials sums = {partials, tiling.chunks()};
    if (!constant_statistics && args.sums != nullptr && args.sums->chunks > 0)
      sums = {reinterpret_cast<const SumPair*>(args.sums->partials), args.sums->chunks};
    else
      SCULPT_LAUNCH((sum_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0,
                    args.launch.stream, partials, dy, x, y, affine, tiling);
    sums =
        sum_over_processes(shared, sums, args.workspace, args.shape.channels, args.launch.stream);
    SCULPT_LAUNCH(finish_gradients, dim3(static_cast<unsigned>(args.shape.channels)),
                  dim3(kThreads), 0, args.launch.stream, floats(args.dgamma), floats(args.dbeta),
                  sums.partials, static_cast<int>(sums.chunks), affine.statistics);
  }
  if (args.dx == nullptr && args.dresidual == nullptr) return;
  const GradientsTo<T> to = {static_cast<T*>(args.dx), static_cast<T*>(args.dresidual),
                             args.write_dx == GradWrite::accumulate,
                             args.write_dresidual == GradWrite::accumulate};
  SCULPT_LAUNCH((write_gradients<T, N, kGate>), grid_of(tiling, N), dim3(kThreads), 0,
                args.launch.stream, to, dy, x, y, terms_of(args, constant_statistics), affine,
                tiling);
}

template <class T>
void backward(const BatchNormBackward& args, const Affine& affine, bool constant_statistics) {
  with_vector<T>(args.shape.channels, [&](auto vector) {
    const auto run = [&] {
      switch (gate_of(args)) {
        case Gate::none:
          return backward_gated<T, vector, Gate::none>;
        case Gate::from_x:
          return backward_gated<T, vector, Gate::from_x>;
        case Gate::from_y:
          break;
      }
      return backward_gated<T, vector, Gate::from_y>;
    }();
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
