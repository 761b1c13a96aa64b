#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/conv2d_passes.h"
#include "kernels/cpu/conv2d_taps.h"

namespace SCULPT_ISA_NAMESPACE {

Strides activation_strides(const ActivationShape& shape, int64_t groups) {
  const int64_t plane = shape.plane_stride() * kLanes;
  return {.block = shape.block_stride() * kLanes,
          .group = shape.channels / groups * plane,
          .channel = plane,
          .row = shape.row_stride() * kLanes,
          .column = kLanes};
}

Strides anchor_strides(const Conv2dShape& shape) {
  Strides strides = activation_strides(shape.in, shape.groups);
  strides.row *= shape.stride;
  strides.column *= shape.stride;
  return strides;
}

const Tap* window_taps(const Conv2dShape& shape, void* workspace) {
  Tap* taps = static_cast<Tap*>(workspace);
  int64_t t = 0;
  for (int64_t r = 0; r < shape.kernel_h; ++r)
    for (int64_t s = 0; s < shape.kernel_w; ++s, ++t)
      taps[t] = {.x = ((r - shape.padding) * shape.in.row_stride() + s - shape.padding) * kLanes,
                 .w = t};
  return taps;
}

namespace {

/// Room for the table of taps.
size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t) {
  return static_cast<size_t>(shape.kernel_h * shape.kernel_w) * sizeof(Tap);
}

void conv2d_forward(void* y, const void* x, const void* weight, const void* bias,
                    const Conv2dShape& shape, void* workspace, const Launch& launch) {
  TapConv conv;
  conv.y = static_cast<float*>(y);
  conv.y_stride = activation_strides(shape.out, shape.groups);
  conv.x = static_cast<const float*>(x);
  conv.x_stride = anchor_strides(shape);
  conv.weight = static_cast<const float*>(weight);
  conv.weight_in = shape.kernel_h * shape.kernel_w;
  conv.weight_out = shape.in_channels_per_group() * conv.weight_in;
  conv.weight_group = shape.out_channels_per_group() * conv.weight_out;
  conv.bias = static_cast<const float*>(bias);
  conv.taps = window_taps(shape, workspace);
  conv.tap_count = shape.kernel_h * shape.kernel_w;
  conv.reach_h = shape.kernel_h;
  conv.reach_w = shape.kernel_w;
  conv.blocks = ceil_div(launch.batch, kLanes);
  conv.groups = shape.groups;
  conv.out_channels = shape.out_channels_per_group();
  conv.in_channels = shape.in_channels_per_group();
  conv.rows = shape.out.height;
  conv.columns = shape.out.width;
  tap_conv(conv);
}

}  // namespace

Conv2dKernels conv2d_kernels() {
  return {.workspace_bytes = conv2d_workspace_bytes,
          .forward = conv2d_forward,
          .input_grad = conv2d_input_grad,
          .weight_grad = conv2d_weight_grad};
}

}  // namespace SCULPT_ISA_NAMESPACE
