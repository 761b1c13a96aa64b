// Convolutions whose groups have few channels: plain float multiply-adds, one thread per output.
// Neighbouring threads compute neighbouring channels. Work: 2 * macs * batch FLOPs. Every input
// element is read kernel_h * kernel_w / stride^2 times, mostly from L1.

#include "kernels/cuda/conv2d/direct.h"
#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/nhwc.h"

namespace sculpt::kernels::cuda {
namespace {

/// The members of Conv2dShape in the types of device code.
struct DirectShape {
  explicit DirectShape(const Conv2dShape& s)
      : in{static_cast<int>(s.in.height),
           static_cast<int>(s.in.width),
           static_cast<int>(s.in.channels),
           static_cast<int>(s.in_channels_per_group()),
           {s.in.height, s.in.width}},
        out{static_cast<int>(s.out.height),
            static_cast<int>(s.out.width),
            static_cast<int>(s.out.channels),
            static_cast<int>(s.out_channels_per_group()),
            {s.out.height, s.out.width}},
        kernel_h(static_cast<int>(s.kernel_h)),
        kernel_w(static_cast<int>(s.kernel_w)),
        stride(static_cast<int>(s.stride)),
        padding(static_cast<int>(s.padding)) {}

  struct Side {
    int height, width, channels, per_group;
    PixelGrid grid;

    __device__ int64_t offset(int image, int y, int x) const {
      return ((static_cast<int64_t>(image) * height + y) * width + x) * channels;
    }
    __device__ bool contains(int y, int x) const {
      return y >= 0 && y < height && x >= 0 && x < width;
    }
  };

  Side in;
  Side out;
  int kernel_h, kernel_w, stride, padding;

  /// Returns the index of w[o][r][s][c].
  __device__ int weight(int o, int r, int s, int c) const {
    return ((o * kernel_h + r) * kernel_w + s) * in.per_group + c;
  }
};

__device__ int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// If N > 1, the convolution is depthwise, and a thread computes N channels.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    forward(T* y, const T* x, const T* weight, const float* bias, DirectShape shape,
            int64_t count) {
  follow_previous_kernels();
  const int64_t thread = global_thread();
  if (thread >= count) return;
  const int vectors = shape.out.channels / N;
  const int o = static_cast<int>(thread % vectors) * N;
  const auto pixel = static_cast<int>(thread / vectors);
  const PixelGrid::Pixel p = shape.out.grid.pixel(pixel);
  const int ins = N > 1 ? 1 : shape.in.per_group;
  const int first_c = N > 1 ? o : o / shape.out.per_group * ins;
  Floats<N> sum = {};
  if (bias != nullptr)
    for (int i = 0; i < N; ++i)
      sum.at[i] = bias[o + i];
  for (int r = 0; r < shape.kernel_h; ++r)
    for (int s = 0; s < shape.kernel_w; ++s) {
      const int in_y = p.y * shape.stride - shape.padding + r;
      const int in_x = p.x * shape.stride - shape.padding + s;
      if (!shape.in.contains(in_y, in_x)) continue;
      const T* from = x + shape.in.offset(p.image, in_y, in_x) + first_c;
      for (int c = 0; c < ins; ++c) {
        const Floats<N> in = load_floats<N>(from + c);
        for (int i = 0; i < N; ++i)
          sum.at[i] = fmaf(to_float(weight[shape.weight(o + i, r, s, c)]), in.at[i], sum.at[i]);
      }
    }
  store_floats(y + static_cast<int64_t>(pixel) * shape.out.channels + o, sum);
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    input_grad(T* dx, const T* dy, const T* weight, DirectShape shape, bool accumulate,
               int64_t count) {
  follow_previous_kernels();
  const int64_t thread = global_thread();
  if (thread >= count) return;
  const int vectors = shape.in.channels / N;
  const int channel = static_cast<int>(thread % vectors) * N;
  const auto pixel = static_cast<int>(thread / vectors);
  const PixelGrid::Pixel p = shape.in.grid.pixel(pixel);
  const int outs = N > 1 ? 1 : shape.out.per_group;
  const int first_o = N > 1 ? channel : channel / shape.in.per_group * outs;
  const int c = N > 1 ? 0 : channel % shape.in.per_group;
  Floats<N> sum = {};
  for (int r = 0; r < shape.kernel_h; ++r)
    for (int s = 0; s < shape.kernel_w; ++s) {
      const int y = p.y + shape.padding - r;
      const int x = p.x + shape.padding - s;
      if (y % shape.stride != 0 || x % shape.stride != 0) continue;
      if (!shape.out.contains(y / shape.stride, x / shape.stride)) continue;
      const T* from = dy + shape.out.offset(p.image, y / shape.stride, x / shape.stride) + first_o;
      for (int o = 0; o < outs; ++o) {
        const Floats<N> out = load_floats<N>(from + o);
        for (int i = 0; i < N; ++i)
          sum.at[i] =
              fmaf(to_float(weight[shape.weight(first_o + o + i, r, s, c)]), out.at[i], sum.at[i]);
      }
    }
  write_floats(dx + static_cast<int64_t>(pixel) * shape.in.channels + channel, sum, accumulate);
}

/// A thread sums one element of the gradient over one split of the pixels, which is number
/// blockIdx.y.
template <class T>
__global__ void __launch_bounds__(kThreads)
    weight_grad(float* partials, const T* dy, const T* x, DirectShape shape, int pixels,
                int split_length, int weights) {
  follow_previous_kernels();
  const auto thread = static_cast<int>(global_thread());
  if (thread >= weights) return;
  const int o = thread % shape.out.channels;
  const int tap_channel = thread / shape.out.channels;
  const int c = tap_channel % shape.in.per_group;
  const int tap = tap_channel / shape.in.per_group;
  const int r = tap / shape.kernel_w;
  const int s = tap % shape.kernel_w;
  const T* in = x + o / shape.out.per_group * shape.in.per_group + c;
  const int64_t split = blockIdx.y;
  const auto begin = static_cast<int>(split * split_length);
  const int end = min(pixels - begin, split_length) + begin;
  float sum = 0.0f;
  for (int pixel = begin; pixel < end; ++pixel) {
    const PixelGrid::Pixel p = shape.out.grid.pixel(pixel);
    const int in_y = p.y * shape.stride - shape.padding + r;
    const int in_x = p.x * shape.stride - shape.padding + s;
    if (!shape.in.contains(in_y, in_x)) continue;
    sum = fmaf(to_float(dy[static_cast<int64_t>(pixel) * shape.out.channels + o]),
               to_float(in[shape.in.offset(p.image, in_y, in_x)]), sum);
  }
  partials[split * weights + shape.weight(o, r, s, c)] = sum;
}

dim3 blocks_for(int64_t threads, int64_t splits = 1) {
  return dim3(static_cast<unsigned>(ceil_div(threads, kThreads)), static_cast<unsigned>(splits));
}

/// Calls body(std::integral_constant<int, N>), where N is the number of channels per thread. N > 1
/// only if the convolution is depthwise.
template <class T, class Body>
void with_channels(const Conv2dShape& shape, const void* a, const void* b, const Body& body) {
  const bool depthwise = shape.groups == shape.in.channels && shape.groups == shape.out.channels;
  if (depthwise && has_vectors<T>(a, shape.groups) && has_vectors<T>(b, shape.groups))
    body(std::integral_constant<int, kVector<T>>{});
  else
    body(std::integral_constant<int, 1>{});
}

}  // namespace

template <class T>
void direct_forward(const ConvForward& args, const Conv2dShape& shape) {
  with_channels<T>(shape, args.x, args.y, [&](auto n) {
    const int64_t count = args.launch.batch * shape.out.elements_per_image() / n;
    SCULPT_LAUNCH((forward<T, decltype(n)::value>), blocks_for(count), dim3(kThreads), 0,
                  args.launch.stream, static_cast<T*>(args.y), static_cast<const T*>(args.x),
                  static_cast<const T*>(args.weight), static_cast<const float*>(args.bias),
                  DirectShape(shape), count);
  });
}

template <class T>
void direct_input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  with_channels<T>(shape, args.dx, args.dy, [&](auto n) {
    const int64_t count = args.launch.batch * shape.in.elements_per_image() / n;
    SCULPT_LAUNCH((input_grad<T, decltype(n)::value>), blocks_for(count), dim3(kThreads), 0,
                  args.launch.stream, static_cast<T*>(args.dx), static_cast<const T*>(args.dy),
                  static_cast<const T*>(args.weight), DirectShape(shape),
                  args.write == GradWrite::accumulate, count);
  });
}

template <class T>
void direct_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                        const Splits& splits) {
  const auto weights = static_cast<int>(shape.weight_count());
  const auto pixels = static_cast<int>(args.launch.batch * shape.out.height * shape.out.width);
  SCULPT_LAUNCH(weight_grad<T>, blocks_for(weights, splits.count), dim3(kThreads), 0,
                args.launch.stream, partials, static_cast<const T*>(args.dy),
                static_cast<const T*>(args.x), DirectShape(shape), pixels,
                static_cast<int>(splits.length), weights);
}

template void direct_forward<float>(const ConvForward&, const Conv2dShape&);
template void direct_forward<bf16>(const ConvForward&, const Conv2dShape&);
template void direct_input_grad<float>(const ConvInputGrad&, const Conv2dShape&);
template void direct_input_grad<bf16>(const ConvInputGrad&, const Conv2dShape&);
template void direct_weight_grad<float>(float*, const ConvWeightGrad&, const Conv2dShape&,
                                        const Splits&);
template void direct_weight_grad<bf16>(float*, const ConvWeightGrad&, const Conv2dShape&,
                                       const Splits&);

}  // namespace sculpt::kernels::cuda
