// Convolution, gradients of the weight and the bias. Rows of the GEMM are output channels, columns
// are (r, s, c), and k runs over the pixels of the whole batch. There are few tiles and k is long,
// so k is split over blocks. Work: 2 * macs * batch FLOPs. dy and x pass through memory once (x
// passes through the caches up to kernel_h * kernel_w times). A partial gradient per split is
// written and read once.

#include "kernels/cuda/conv2d/direct.h"
#include "kernels/cuda/conv2d/image/first_layer.h"
#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/conv2d/passes.h"
#include "kernels/cuda/gemm/tiles.h"

namespace sculpt::kernels::cuda {
namespace {

template <class T>
struct WeightGradPass {
  static constexpr bool kAAlongK = false;
  static constexpr bool kBAlongK = false;

  struct Work {
    PlainMatrix<T> a;
    PixelGather<T> b;
    int m, n, k_begin, k_end;
    GemmOutput<float, PlainRows> out;
  };

  Work first;  ///< the GEMM of group 0 and split 0
  int splits;
  int group_ins;
  int64_t weights;  ///< weights of all groups

  __device__ Work work(int z) const {
    Work w = first;
    const int group = z / splits;
    const int split = z % splits;
    w.a.data += group * w.m;
    w.b.data += group * group_ins;
    w.k_begin = split * w.k_end;  // until here, k_end is the length of a split
    w.k_end = min(w.k_begin + w.k_end, w.a.rows);
    w.out.data += split * weights + group * w.m * w.out.row_offset.pitch;
    return w;
  }
};

constexpr int kSumRows = 8;  // sums per column in a block of kWarp x kSumRows threads

/// Adds up sums[y][x] over y, in order. The result is valid in the threads with y = 0.
__device__ float sum_rows(float sum) {
  __shared__ float sums[kSumRows][kWarp];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0)
    for (int y = 1; y < kSumRows; ++y)
      sum += sums[y][threadIdx.x];
  return sum;
}

/// grad[o][c][tap] (=, +=) sum over splits of partials[split][o][tap][c].
__global__ void __launch_bounds__(kWarp* kSumRows)
    add_partials(float* grad, const float* partials, int64_t count, int splits, int taps,
                 int channels, bool accumulate) {
  follow_previous_kernels();
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  float sum = 0.0f;
  if (index < count)
    for (int split = static_cast<int>(threadIdx.y); split < splits; split += kSumRows)
      sum += partials[split * count + index];
  sum = sum_rows(sum);
  if (threadIdx.y != 0 || index >= count) return;
  const int64_t out = index / (taps * channels);
  const int place = static_cast<int>(index % (taps * channels));
  float* to = grad + (out * channels + place % channels) * taps + place / channels;
  *to = accumulate ? *to + sum : sum;
}

/// partials[split][channel] = sum of the split's rows of dy.
template <class T>
__global__ void __launch_bounds__(kWarp* kSumRows)
    sum_columns(float* partials, const T* dy, int64_t rows, int64_t split_length, int channels) {
  follow_previous_kernels();
  const int channel = static_cast<int>(blockIdx.y) * kWarp + static_cast<int>(threadIdx.x);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * split_length;
  const int64_t end = begin + split_length < rows ? begin + split_length : rows;
  float sum = 0.0f;
  if (channel < channels)
    for (int64_t row = begin + threadIdx.y; row < end; row += kSumRows)
      sum += to_float(dy[row * channels + channel]);
  sum = sum_rows(sum);
  if (threadIdx.y == 0 && channel < channels)
    partials[static_cast<int64_t>(blockIdx.x) * channels + channel] = sum;
}

constexpr int64_t kBlocks = 528;             // wanted: 4 per multiprocessor of large chips
constexpr int64_t kGemmUnit = 512;           // pixels; a multiple of kDepth of every type
constexpr int64_t kDirectThreads = 1 << 17;  // wanted threads
constexpr int64_t kMaxDirectSplits = 1024;
constexpr int64_t kDirectUnit = 64;
constexpr int64_t kBiasSplits = 256;
constexpr int64_t kBiasUnit = 64;

/// Returns the number of splits that would fill a large device.
int64_t wanted_splits(const Conv2dShape& shape) {
  if (prefers_direct(shape))
    return std::min(kDirectThreads / shape.weight_count(), kMaxDirectSplits);
  const int64_t columns = shape.kernel_h * shape.kernel_w * shape.in_channels_per_group();
  const int64_t tiles =
      shape.groups * ceil_div(shape.out_channels_per_group(), 64) * ceil_div(columns, 128);
  return kBlocks / tiles;
}

int64_t split_unit(const Conv2dShape& shape) {
  return prefers_direct(shape) ? kDirectUnit : kGemmUnit;
}

/// Launches the GEMM. Rows are channels, often fewer than the 128 rows of a tile; there are many
/// columns.
template <class Math, GemmPass<typename Math::Element> Pass>
void launch_gemm(const Pass& pass, int64_t m, int64_t n, int64_t count, bool vectors,
                 void* stream) {
  auto run = [&](auto tile, auto with_vectors) {
    launch_implicit_gemm<Math, decltype(tile), decltype(with_vectors)::value>(pass, m, n, count,
                                                                              stream);
  };
  if (!vectors)
    run(GemmTile<32, 64, 32, 16>{}, std::false_type{});
  else if (m <= 16)
    run(GemmTile<16, 128, 16, 32>{}, std::true_type{});
  else if (m <= 32)
    run(GemmTile<32, 128, 32, 32>{}, std::true_type{});
  else if (m <= 64 || n <= 64)
    run(GemmTile<64, 64, 32, 32>{}, std::true_type{});
  else
    run(LargeTile<typename Math::Element>{}, std::true_type{});
}

template <class Math>
void gemm_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                      const Splits& splits) {
  using T = typename Math::Element;
  const int64_t ins = shape.in_channels_per_group();
  const int64_t outs = shape.out_channels_per_group();
  WeightGradPass<T> pass;
  pass.splits = static_cast<int>(splits.count);
  pass.group_ins = static_cast<int>(ins);
  pass.weights = shape.weight_count();
  auto& work = pass.first;
  work.b = input_windows<T>(args.x, shape, args.launch.batch);
  work.m = static_cast<int>(outs);
  work.n = work.b.columns;
  work.k_begin = 0;
  work.k_end = static_cast<int>(splits.length);
  work.a.data = static_cast<const T*>(args.dy);
  work.a.rows = work.b.rows;
  work.a.columns = work.m;
  work.a.pitch = shape.out.channels;
  work.out = {.data = partials,
              .row_offset = {work.n},
              .bias = nullptr,
              .accumulate = false,
              .vectors = has_vectors<float>(partials, work.n)};
  const bool vectors = has_vectors<T>(args.dy, outs) && has_vectors<T>(args.x, ins);
  launch_gemm<Math>(pass, outs, work.n, shape.groups * splits.count, vectors, args.launch.stream);
}

/// Partial sums [splits][count] of the elements of a gradient, which are [out][taps][channels].
struct Partials {
  int64_t count = 0;
  int64_t splits = 0;
  int64_t taps = 1;
  int64_t channels = 1;
};

/// gradient (=, +=) the sums of `partials` over the splits.
void launch_add_partials(void* gradient, const float* partials, const Partials& of, GradWrite write,
                         void* stream) {
  SCULPT_LAUNCH(add_partials, dim3(static_cast<unsigned>(ceil_div(of.count, kWarp))),
                dim3(kWarp, kSumRows), 0, stream, static_cast<float*>(gradient), partials, of.count,
                static_cast<int>(of.splits), static_cast<int>(of.taps),
                static_cast<int>(of.channels), write == GradWrite::accumulate);
}

}  // namespace

size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t max_batch) {
  const int64_t pixels = max_batch * shape.out.height * shape.out.width;
  const int64_t splits =
      std::max({max_splits(pixels, wanted_splits(shape), split_unit(shape)),
                most_image_splits(shape, max_batch), most_first_layer_splits(shape, max_batch)});
  const int64_t weights = shape.weight_count() * splits;
  const int64_t biases = shape.out.channels * max_splits(pixels, kBiasSplits, kBiasUnit);
  return static_cast<size_t>(std::max(weights, biases)) * sizeof(float);
}

void add_weight_partials(void* dweight, const float* partials, const Conv2dShape& shape,
                         int64_t splits, GradWrite write, void* stream) {
  launch_add_partials(dweight, partials,
                      {.count = shape.weight_count(),
                       .splits = splits,
                       .taps = shape.kernel_h * shape.kernel_w,
                       .channels = shape.in_channels_per_group()},
                      write, stream);
}

template <class T>
void conv2d_bias_grad(const ConvWeightGrad& args, const ActivationShape& dy_shape) {
  auto* partials = static_cast<float*>(args.workspace);
  const int64_t pixels = args.launch.batch * dy_shape.height * dy_shape.width;
  const int64_t channels = dy_shape.channels;
  const Splits splits = make_splits(pixels, kBiasSplits, kBiasUnit);
  const dim3 grid(static_cast<unsigned>(splits.count),
                  static_cast<unsigned>(ceil_div(channels, kWarp)));
  SCULPT_LAUNCH(sum_columns<T>, grid, dim3(kWarp, kSumRows), 0, args.launch.stream, partials,
                static_cast<const T*>(args.dy), pixels, splits.length, static_cast<int>(channels));
  launch_add_partials(args.dbias, partials, {.count = channels, .splits = splits.count}, args.write,
                      args.launch.stream);
}

template void conv2d_bias_grad<float>(const ConvWeightGrad&, const ActivationShape&);
template void conv2d_bias_grad<bf16>(const ConvWeightGrad&, const ActivationShape&);

template <class Math>
void conv2d_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape) {
  using T = typename Math::Element;
  auto* partials = static_cast<float*>(args.workspace);
  const int64_t pixels = args.launch.batch * shape.out.height * shape.out.width;
  Splits splits = make_splits(pixels, wanted_splits(shape), split_unit(shape));
  if (runs_on_images<T>(shape)) {
    splits = image_splits(shape, args.launch.batch);
    image_weight_grad(partials, args, shape, splits);
  } else if (is_first_layer<T>(shape)) {
    splits = first_layer_splits(args.launch.batch);
    first_layer_weight_grad(partials, args, shape, splits);
  } else if (prefers_direct(shape)) {
    direct_weight_grad<T>(partials, args, shape, splits);
  } else {
    gemm_weight_grad<Math>(partials, args, shape, splits);
  }
  add_weight_partials(args.dweight, partials, shape, splits.count, args.write, args.launch.stream);
  if (args.dbias != nullptr) conv2d_bias_grad<T>(args, shape.out);
}

template void conv2d_weight_grad<Fp32>(const ConvWeightGrad&, const Conv2dShape&);
template void conv2d_weight_grad<Tf32>(const ConvWeightGrad&, const Conv2dShape&);
template void conv2d_weight_grad<Bf16>(const ConvWeightGrad&, const Conv2dShape&);

}  // namespace sculpt::kernels::cuda
