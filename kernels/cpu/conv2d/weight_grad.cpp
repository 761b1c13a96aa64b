// Weight gradient of the direct convolution: converts a Conv2dShape to the loop nest of
// kernels/cpu/conv2d/tap_weight_grad.h.

#include <algorithm>

#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/conv2d/tap_weight_grad.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

TapWeightGrad::Strides strides_of(const ActivationShape& shape, int64_t groups, int64_t step) {
  const int64_t plane = shape.plane_stride() * kLanes;
  return {.block = shape.block_stride() * kLanes,
          .group = shape.channels / groups * plane,
          .channel = plane,
          .row = shape.row_stride() * kLanes * step,
          .column = kLanes * step};
}

/// The output pixels [begin, end) along one axis that meet the input, and not its padding, at
/// position `tap` of the kernel. Output pixel i is multiplied with input cell i * stride + tap -
/// padding.
struct Pixels {
  Pixels(const Conv2dShape& shape, int64_t tap, int64_t in, int64_t out)
      : begin(ceil_div(std::max<int64_t>(0, shape.padding - tap), shape.stride)) {
    const int64_t last = in - 1 + shape.padding - tap;
    end = last < 0 ? 0 : std::min(out, last / shape.stride + 1);
  }
  int64_t begin, end;
};

void write_taps(const Conv2dShape& shape, GradTap* taps) {
  for (int64_t r = 0; r < shape.kernel_h; ++r)
    for (int64_t s = 0; s < shape.kernel_w; ++s) {
      const Pixels rows(shape, r, shape.in.height, shape.out.height);
      const Pixels columns(shape, s, shape.in.width, shape.out.width);
      *taps++ = {.x = ((r - shape.padding) * shape.in.row_stride() + s - shape.padding) * kLanes,
                 .row_begin = rows.begin,
                 .row_end = rows.end,
                 .column_begin = columns.begin,
                 .column_end = columns.end};
    }
}

}  // namespace

void conv2d_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape) {
  auto* taps = static_cast<GradTap*>(args.workspace);
  write_taps(shape, taps);
  TapWeightGrad grad;
  grad.dweight = floats(args.dweight);
  grad.dbias = floats(args.dbias);
  grad.dy = floats(args.dy);
  grad.dy_stride = strides_of(shape.out, shape.groups, 1);
  grad.x = floats(args.x);
  grad.x_stride = strides_of(shape.in, shape.groups, shape.stride);
  grad.taps = taps;
  grad.tap_count = shape.kernel_h * shape.kernel_w;
  grad.blocks = ceil_div(args.launch.batch, kLanes);
  grad.groups = shape.groups;
  grad.out_channels = shape.out_channels_per_group();
  grad.in_channels = shape.in_channels_per_group();
  grad.rows = shape.out.height;
  grad.columns = shape.out.width;
  grad.accumulate = args.write == GradWrite::accumulate;
  tap_weight_grad(grad);
}

void conv2d_bias_grad(const ConvWeightGrad& args, const ActivationShape& dy_shape) {
  TapWeightGrad grad;
  grad.dbias = floats(args.dbias);
  grad.dy = floats(args.dy);
  grad.dy_stride = strides_of(dy_shape, 1, 1);
  grad.blocks = ceil_div(args.launch.batch, kLanes);
  grad.out_channels = dy_shape.channels;
  grad.rows = dy_shape.height;
  grad.columns = dy_shape.width;
  grad.accumulate = args.write == GradWrite::accumulate;
  tap_bias_grad(grad);
}

}  // namespace SCULPT_ISA_NAMESPACE
