// Convolution, forward. Rows of the GEMM are output pixels, columns are output channels, and k =
// (r, s, c). Work: 2 * macs * batch FLOPs. x, the weight and y pass through memory once (x passes
// through the caches up to kernel_h * kernel_w times). Sums of y's channels add 16 bytes per
// channel and block of rows.

#include "kernels/cuda/conv2d/direct.h"
#include "kernels/cuda/conv2d/image/first_layer.h"
#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/conv2d/passes.h"
#include "kernels/cuda/gemm/tiles.h"

namespace sculpt::kernels::cuda {
namespace {

template <class T>
struct ForwardPass {
  static constexpr bool kAAlongK = true;
  static constexpr bool kBAlongK = true;

  struct Work {
    PixelGather<T> a;
    PlainMatrix<T> b;
    int m, n, k_begin, k_end;
    GemmOutput<T, PlainRows> out;
    ColumnSums sums;
  };

  Work first;  ///< the GEMM of group 0
  int group_ins;

  __device__ Work work(int group) const {
    Work w = first;
    w.a.data += group * group_ins;
    w.b.data += group * w.n * w.b.pitch;
    w.out.data += group * w.n;
    if (w.out.bias != nullptr) w.out.bias += group * w.n;
    w.sums.first_column = group * w.n;
    return w;
  }
};

}  // namespace

size_t conv2d_output_sums_bytes(const Conv2dShape& shape, int64_t max_batch) {
  if (prefers_direct(shape)) return 0;
  // Kernels on images leave a chunk per image, and matrix multiplications one per block of rows.
  const int64_t most_chunks =
      std::max(max_batch, ceil_div(max_batch * shape.out.height * shape.out.width, kMinPixelRows));
  return static_cast<size_t>(shape.out.channels * most_chunks) * sizeof(SumPair);
}

template <class Math>
void conv2d_forward(const ConvForward& args, const Conv2dShape& shape) {
  using T = typename Math::Element;
  if (prefers_direct(shape)) return direct_forward<T>(args, shape);
  if (runs_on_images<T>(shape, args.weight)) return image_forward(args, shape);
  if (is_first_layer<T>(shape)) return first_layer_forward(args, shape);

  const int64_t ins = shape.in_channels_per_group();
  const int64_t outs = shape.out_channels_per_group();
  ForwardPass<T> pass;
  pass.group_ins = static_cast<int>(ins);
  auto& work = pass.first;
  work.a = input_windows<T>(args.x, shape, args.launch.batch);
  work.m = work.a.rows;
  work.n = static_cast<int>(outs);
  work.k_begin = 0;
  work.k_end = work.a.columns;
  work.b.data = static_cast<const T*>(args.weight);
  work.b.rows = work.n;
  work.b.columns = work.k_end;
  work.b.pitch = work.k_end;
  work.out = {.data = static_cast<T*>(args.y),
              .row_offset = {shape.out.channels},
              .bias = static_cast<const float*>(args.bias),
              .accumulate = false,
              .vectors = has_vectors<T>(args.y, outs)};
  work.sums.partials =
      args.sums == nullptr ? nullptr : reinterpret_cast<SumPair*>(args.sums->partials);
  const bool vectors = has_vectors<T>(args.x, ins) && has_vectors<T>(args.weight, ins);
  const int64_t row_blocks =
      launch_pixel_gemm<Math>(pass, work.m, outs, shape.groups, vectors, args.launch.stream);
  if (args.sums != nullptr) args.sums->chunks = row_blocks;
}

template void conv2d_forward<Fp32>(const ConvForward&, const Conv2dShape&);
template void conv2d_forward<Tf32>(const ConvForward&, const Conv2dShape&);
template void conv2d_forward<Bf16>(const ConvForward&, const Conv2dShape&);

}  // namespace sculpt::kernels::cuda
