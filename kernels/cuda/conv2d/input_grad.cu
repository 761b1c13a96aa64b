// Convolution, gradient of the input. Rows of the GEMM are input pixels, columns are input
// channels, and k = (r, s, o). With stride > 1, an input pixel meets only the taps of its residue
// class. There is one GEMM per class (y mod stride, x mod stride), which is a convolution of stride
// 1 with every stride-th tap, so nothing is multiplied with zero. Work: 2 * macs * batch FLOPs. dy,
// the weight and dx pass through memory once (dx twice if it is accumulated).

#include <algorithm>

#include "kernels/cuda/conv2d/direct.h"
#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/conv2d/passes.h"
#include "kernels/cuda/gemm/tiles.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int64_t kMaxStride = 4;  // so that the parameters of all classes fit a kernel's arguments

/// One residue class along one axis. It has the input pixels p + stride * i, i < size. Input pixel
/// i of the class meets the taps first_tap + stride * t, t < taps, of the output pixels i + shift -
/// t.
struct AxisClass {
  AxisClass() = default;
  AxisClass(int64_t p, int64_t in, int64_t kernel, int64_t stride, int64_t padding)
      : size(static_cast<int>(ceil_div(std::max<int64_t>(in - p, 0), stride))),
        first_tap(static_cast<int>((p + padding) % stride)),
        taps(static_cast<int>(ceil_div(std::max<int64_t>(kernel - first_tap, 0), stride))),
        shift(static_cast<int>((p + padding) / stride)),
        by_size(std::max(size, 1)),
        by_taps(std::max(taps, 1)) {}

  int size;
  int first_tap;
  int taps;
  int shift;
  FastDivide by_size;
  FastDivide by_taps;
};

/// The rows are the pixels (first_y + step * y, first_x + step * x) of a grid (y, x).
struct StridedRows {
  PixelGrid grid;
  int first_y, first_x, step;
  int height, width;
  int64_t channels;

  __device__ int64_t operator()(int index) const {
    const PixelGrid::Pixel p = grid.pixel(index);
    const int64_t row = static_cast<int64_t>(p.image) * height + first_y + p.y * step;
    return (row * width + first_x + p.x * step) * channels;
  }
};

template <class T>
struct InputGradPass {
  static constexpr bool kAAlongK = true;
  static constexpr bool kBAlongK = false;

  struct Work {
    PixelGather<T> a;
    TapRows<T> b;
    int m, n, k_begin, k_end;
    GemmOutput<T, StridedRows> out;
  };

  Work first;  ///< the GEMM of group 0, without the members that depend on the class
  int batch;
  int group_outs;
  AxisClass y_classes[kMaxStride];
  AxisClass x_classes[kMaxStride];

  __device__ Work work(int z) const {
    Work w = first;
    const int stride = w.b.step;
    const int group = z / (stride * stride);
    w.out.row_offset.first_y = z / stride % stride;
    w.out.row_offset.first_x = z % stride;
    const AxisClass& y = y_classes[w.out.row_offset.first_y];
    const AxisClass& x = x_classes[w.out.row_offset.first_x];
    w.m = batch * y.size * x.size;
    w.k_end = y.taps * x.taps * group_outs;
    if (w.k_end == 0 && w.out.accumulate) w.m = 0;  // there is nothing to add

    w.a.data += group * group_outs;
    w.a.grid.by_height = y.by_size;
    w.a.grid.by_width = x.by_size;
    w.a.rows = w.m;
    w.a.columns = w.k_end;
    w.a.shift_y = y.shift;
    w.a.shift_x = x.shift;
    w.a.by_taps_x = x.by_taps;

    w.b.data += static_cast<int64_t>(group) * group_outs * w.b.taps * w.b.columns;
    w.b.rows = w.k_end;
    w.b.by_taps_x = x.by_taps;
    w.b.first_r = y.first_tap;
    w.b.first_s = x.first_tap;

    w.out.data += group * w.n;
    w.out.row_offset.grid = w.a.grid;
    return w;
  }
};

}  // namespace

template <class Math>
void conv2d_input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  using T = typename Math::Element;
  const int64_t stride = shape.stride;
  if (prefers_direct(shape) || stride > kMaxStride) return direct_input_grad<T>(args, shape);
  if (runs_on_images<T>(shape)) return image_input_grad(args, shape);

  const int64_t ins = shape.in_channels_per_group();
  const int64_t outs = shape.out_channels_per_group();
  InputGradPass<T> pass;
  index_count(args.launch.batch * shape.in.height * shape.in.width);
  index_count(shape.out.elements_per_image());
  pass.batch = static_cast<int>(args.launch.batch);
  pass.group_outs = static_cast<int>(outs);
  for (int64_t p = 0; p < stride; ++p) {
    pass.y_classes[p] = {p, shape.in.height, shape.kernel_h, stride, shape.padding};
    pass.x_classes[p] = {p, shape.in.width, shape.kernel_w, stride, shape.padding};
  }
  auto& work = pass.first;
  work.n = static_cast<int>(ins);
  work.k_begin = 0;
  work.a.data = static_cast<const T*>(args.dy);
  work.a.scale = 1;
  work.a.tap_step = -1;
  work.a.by_channels = FastDivide(outs);
  work.a.height = static_cast<int>(shape.out.height);
  work.a.width = static_cast<int>(shape.out.width);
  work.a.channels = static_cast<int>(shape.out.channels);
  work.b.data = static_cast<const T*>(args.weight);
  work.b.by_outs = work.a.by_channels;
  work.b.step = static_cast<int>(stride);
  work.b.kernel_w = static_cast<int>(shape.kernel_w);
  work.b.taps = static_cast<int>(shape.kernel_h * shape.kernel_w);
  work.b.columns = work.n;
  work.out.data = static_cast<T*>(args.dx);
  work.out.row_offset.step = static_cast<int>(stride);
  work.out.row_offset.height = static_cast<int>(shape.in.height);
  work.out.row_offset.width = static_cast<int>(shape.in.width);
  work.out.row_offset.channels = shape.in.channels;
  work.out.bias = nullptr;
  work.out.accumulate = args.write == GradWrite::accumulate;
  work.out.vectors = has_vectors<T>(args.dx, ins);
  const bool vectors = has_vectors<T>(args.dy, outs) && has_vectors<T>(args.weight, ins);
  const int64_t pixels =
      args.launch.batch * ceil_div(shape.in.height, stride) * ceil_div(shape.in.width, stride);
  launch_pixel_gemm<Math>(pass, pixels, ins, shape.groups * stride * stride, vectors,
                          args.launch.stream);
}

template void conv2d_input_grad<Fp32>(const ConvInputGrad&, const Conv2dShape&);
template void conv2d_input_grad<Tf32>(const ConvInputGrad&, const Conv2dShape&);
template void conv2d_input_grad<Bf16>(const ConvInputGrad&, const Conv2dShape&);

}  // namespace sculpt::kernels::cuda
