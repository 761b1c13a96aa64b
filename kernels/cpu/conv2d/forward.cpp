#include <algorithm>

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/conv2d/tap_weight_grad.h"
#include "kernels/cpu/conv2d/zones.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// The workspace holds the zones or the weight gradient's taps.
size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t) {
  return std::max(static_cast<size_t>(max_zones(shape)) * sizeof(Zone),
                  static_cast<size_t>(shape.kernel_h * shape.kernel_w) * sizeof(GradTap));
}

void conv2d_forward(const ConvForward& args, const Conv2dShape& shape) {
  TapConv conv;
  conv.y = floats(args.y);
  conv.y_stride = activation_strides(shape.out, shape.groups);
  conv.x = floats(args.x);
  conv.x_stride = activation_strides(shape.in, shape.groups);
  conv.weight = floats(args.weight);
  conv.weight_in = shape.kernel_h * shape.kernel_w;
  conv.weight_out = shape.in_channels_per_group() * conv.weight_in;
  conv.weight_group = shape.out_channels_per_group() * conv.weight_out;
  conv.bias = floats(args.bias);
  forward_zones(shape, static_cast<Zone*>(args.workspace), conv);
  conv.blocks = ceil_div(args.launch.batch, kLanes);
  conv.groups = shape.groups;
  conv.out_channels = shape.out_channels_per_group();
  conv.in_channels = shape.in_channels_per_group();
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
