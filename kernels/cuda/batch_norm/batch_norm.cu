// Batch norm, forward, bound by memory bandwidth (FLOPs are negligible). Accesses per element of
// type T:
//
//   forward, training     x twice, y once (+ residual once)
//     given sums of x     x once, y once (+ residual once)
//   forward, evaluation   x once, y once (+ residual once)
//
// Training runs three kernels. The first writes two sums per channel and chunk of rows to the
// workspace; it is left out if the preceding convolution has computed these sums (ChannelSums). The
// second adds up the chunks, with one block per channel, and finishes the statistics. The third
// writes the output. Sums are float within a thread and double across threads, in an order that
// depends on the shape only.

#include "kernels/common/batch_norm_check.h"
#include "kernels/cuda/batch_norm/channels.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

/// Computes the sums of x and x^2. A thread subtracts its first value before it sums in float, so
/// that x^2 does not swamp the variance, and corrects the sums for it in double.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    sum_values(SumPair* partials, const T* __restrict__ x, const Tiling tiling) {
  follow_previous_kernels();
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

/// The destinations of finish_statistics.
struct StatisticsTo {
  float* saved_mean;
  float* saved_inv_std;
  float* running_mean;
  float* running_var;
};

/// Writes the statistics, with one block per channel.
__global__ void __launch_bounds__(kThreads)
    finish_statistics(const StatisticsTo to, const SumPair* partials, int chunks, double count,
                      double eps, double momentum) {
  follow_previous_kernels();
  const SumPair total = sum_chunks(partials, chunks);
  if (threadIdx.x != 0) return;
  const int c = static_cast<int>(blockIdx.x);
  const double mean = total.at[0] / count;
  double squares = total.at[1] - total.at[0] * mean;
  squares = squares < 0 ? 0 : squares;
  to.saved_mean[c] = static_cast<float>(mean);
  to.saved_inv_std[c] = static_cast<float>(1 / sqrt(squares / count + eps));
  to.running_mean[c] = static_cast<float>((1 - momentum) * to.running_mean[c] + momentum * mean);
  to.running_var[c] =
      static_cast<float>((1 - momentum) * to.running_var[c] + momentum * squares / (count - 1));
}

/// Normalises x. residual and gate may be null. A gate takes the place of the ReLU.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    normalise(T* y, const T* __restrict__ x, const T* __restrict__ residual,
              const T* __restrict__ gate, const Affine affine, bool relu, const Tiling tiling) {
  follow_previous_kernels();
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
    if (gate != nullptr) {
      const Floats<N> open = load_floats<N>(gate + offset);
      for (int i = 0; i < N; ++i)
        z.at[i] = open.at[i] > 0 ? z.at[i] : 0;
    } else if (relu) {
      for (int i = 0; i < N; ++i)
        z.at[i] = relu_of(z.at[i]);
    }
    store_floats(y + offset, z);
  }
}

template <class T>
size_t workspace_bytes(const ActivationShape& shape, int64_t max_batch) {
  size_t bytes = 0;
  with_vector<T>(shape.channels, [&](auto vector) {
    // A smaller batch has at most as many chunks as the largest one, or as many as fit kBlocks
    // blocks.
    const Tiling t = tiling_for(shape, max_batch, vector);
    const int64_t most = kBlocks / grid_of(t, vector).y + 1;
    const int64_t chunks = t.chunks() > most ? t.chunks() : most;
    bytes = static_cast<size_t>(shape.channels * (chunks + 1)) * sizeof(SumPair);  // and the totals
  });
  return bytes;
}

/// Writes y.
template <class T>
void normalise_all(const BatchNormForward& args, const Affine& affine) {
  with_vector<T>(args.shape.channels, [&](auto vector) {
    const Tiling tiling = tiling_for(args.shape, args.launch.batch, vector);
    SCULPT_LAUNCH((normalise<T, vector>), grid_of(tiling, vector), dim3(kThreads), 0,
                  args.launch.stream, static_cast<T*>(args.y), static_cast<const T*>(args.x),
                  static_cast<const T*>(args.residual), static_cast<const T*>(args.gate), affine,
                  args.options.relu, tiling);
  });
}

/// Computes the sums of x's channels in a pass over x.
template <class T>
ChannelSums read_sums(const BatchNormForward& args) {
  SumPair* const partials = partials_in(args.workspace, args.shape.channels);
  ChannelSums sums = {partials->at};
  with_vector<T>(args.shape.channels, [&](auto vector) {
    const Tiling tiling = tiling_for(args.shape, args.launch.batch, vector);
    SCULPT_LAUNCH((sum_values<T, vector>), grid_of(tiling, vector), dim3(kThreads), 0,
                  args.launch.stream, partials, static_cast<const T*>(args.x), tiling);
    sums.chunks = tiling.chunks();
  });
  return sums;
}

template <class T>
void forward_train(const BatchNormForward& args) {
  const ActivationShape& shape = args.shape;
  check_batch_norm_count(shape, args.images());
  const bool has_sums = args.sums != nullptr && args.sums->chunks > 0;
  const ChannelSums read = has_sums ? *args.sums : read_sums<T>(args);
  const ChannelPartials sums = sum_over_processes(
      args.shared, {reinterpret_cast<const SumPair*>(read.partials), read.chunks}, args.workspace,
      shape.channels, args.launch.stream);
  const StatisticsTo to = {floats(args.saved_mean), floats(args.saved_inv_std),
                           floats(args.running_mean), floats(args.running_var)};
  const int64_t count = args.images() * shape.height * shape.width;
  SCULPT_LAUNCH(finish_statistics, dim3(static_cast<unsigned>(shape.channels)), dim3(kThreads), 0,
                args.launch.stream, to, sums.partials, static_cast<int>(sums.chunks),
                static_cast<double>(count), static_cast<double>(args.options.eps),
                static_cast<double>(args.options.momentum));
  if (args.y != nullptr) normalise_all<T>(args, saved_affine(args));
}

template <class T>
void forward_eval(const BatchNormForward& args) {
  if (args.y != nullptr) normalise_all<T>(args, running_affine(args));
}

}  // namespace

template <class T>
BatchNormKernels batch_norm_kernels() {
  return {.workspace_bytes = workspace_bytes<T>,
          .forward_train = forward_train<T>,
          .forward_eval = forward_eval<T>,
          .backward_train = batch_norm_backward_train<T>,
          .backward_eval = batch_norm_backward_eval<T>};
}
template BatchNormKernels batch_norm_kernels<float>();
template BatchNormKernels batch_norm_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
