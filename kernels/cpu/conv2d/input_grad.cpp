// The input gradient is a convolution of dy with the transposed weights, which are read in place.

#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/conv2d/zones.h"

namespace SCULPT_ISA_NAMESPACE {

void conv2d_input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  TapConv conv;
  conv.y = floats(args.dx);
  conv.y_stride = activation_strides(shape.in, shape.groups);
  conv.x = floats(args.dy);
  conv.x_stride = activation_strides(shape.out, shape.groups);
  conv.weight = floats(args.weight);
  conv.weight_out = shape.kernel_h * shape.kernel_w;
  conv.weight_in = shape.in_channels_per_group() * conv.weight_out;
  conv.weight_group = shape.out_channels_per_group() * conv.weight_in;
  input_grad_zones(shape, static_cast<Zone*>(args.workspace), conv);
  conv.blocks = ceil_div(args.launch.batch, kLanes);
  conv.groups = shape.groups;
  conv.out_channels = shape.in_channels_per_group();
  conv.in_channels = shape.out_channels_per_group();
  conv.accumulate = args.write == GradWrite::accumulate;
  tap_conv(conv);
}

}  // namespace SCULPT_ISA_NAMESPACE
