// An input pixel (i, j) meets output pixel ((i + padding - r) / stride, (j + padding - s) / stride)
// at tap (r, s), where these are whole. Pixels with the same (i mod stride, j mod stride) have the
// same taps, so each such class is a dense convolution of dy, with the weights read transposed in
// place.

#include <algorithm>

#include "kernels/cpu/conv2d_passes.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Sets taps and reach for the class of pixels with row mod stride = a, column mod stride = b.
void set_class_taps(TapConv& conv, Tap* taps, const Conv2dShape& shape, int64_t a, int64_t b) {
  const int64_t first_r = (a + shape.padding) % shape.stride;
  const int64_t first_s = (b + shape.padding) % shape.stride;
  int64_t count = 0;
  for (int64_t r = first_r; r < shape.kernel_h; r += shape.stride)
    for (int64_t s = first_s; s < shape.kernel_w; s += shape.stride) {
      const int64_t row = (a + shape.padding - r) / shape.stride;
      const int64_t column = (b + shape.padding - s) / shape.stride;
      taps[count++] = {.x = (row * shape.out.row_stride() + column) * kLanes,
                       .w = r * shape.kernel_w + s};
    }
  conv.taps = taps;
  conv.tap_count = count;
  conv.reach_h = std::max<int64_t>(1, ceil_div(shape.kernel_h - first_r, shape.stride));
  conv.reach_w = std::max<int64_t>(1, ceil_div(shape.kernel_w - first_s, shape.stride));
}

}  // namespace

void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch) {
  const Strides dx_cells = activation_strides(shape.in, shape.groups);
  TapConv conv;
  conv.y_stride = dx_cells;
  conv.y_stride.row *= shape.stride;
  conv.y_stride.column *= shape.stride;
  conv.x = static_cast<const float*>(dy);
  conv.x_stride = activation_strides(shape.out, shape.groups);
  conv.weight = static_cast<const float*>(weight);
  conv.weight_out = shape.kernel_h * shape.kernel_w;
  conv.weight_in = shape.in_channels_per_group() * conv.weight_out;
  conv.weight_group = shape.out_channels_per_group() * conv.weight_in;
  conv.blocks = ceil_div(launch.batch, kLanes);
  conv.groups = shape.groups;
  conv.out_channels = shape.in_channels_per_group();
  conv.in_channels = shape.out_channels_per_group();
  conv.accumulate = write == GradWrite::accumulate;

  for (int64_t a = 0; a < std::min(shape.stride, shape.in.height); ++a)
    for (int64_t b = 0; b < std::min(shape.stride, shape.in.width); ++b) {
      set_class_taps(conv, static_cast<Tap*>(workspace), shape, a, b);
      if (conv.tap_count == 0 && conv.accumulate) continue;
      conv.y = static_cast<float*>(dx) + a * dx_cells.row + b * dx_cells.column;
      conv.rows = ceil_div(shape.in.height - a, shape.stride);
      conv.columns = ceil_div(shape.in.width - b, shape.stride);
      tap_conv(conv);
    }
}

}  // namespace SCULPT_ISA_NAMESPACE
