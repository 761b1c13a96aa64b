// The input gradient is a convolution of dy with the transposed weights, which are read in place.

#include "kernels/cpu/conv2d/passes.h"
#include "kernels/cpu/conv2d/zones.h"

namespace SCULPT_ISA_NAMESPACE {

void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch) {
  TapConv conv;
  conv.y = static_cast<float*>(dx);
  conv.y_stride = activation_strides(shape.in, shape.groups);
  conv.x = static_cast<const float*>(dy);
  conv.x_stride = activation_strides(shape.out, shape.groups);
  conv.weight = static_cast<const float*>(weight);
  conv.weight_out = shape.kernel_h * shape.kernel_w;
  conv.weight_in = shape.in_channels_per_group() * conv.weight_out;
  conv.weight_group = shape.out_channels_per_group() * conv.weight_in;
  input_grad_zones(shape, static_cast<Zone*>(workspace), conv);
  conv.blocks = ceil_div(launch.batch, kLanes);
  conv.groups = shape.groups;
  conv.out_channels = shape.in_channels_per_group();
  conv.in_channels = shape.out_channels_per_group();
  conv.accumulate = write == GradWrite::accumulate;
  tap_conv(conv);
}

}  // namespace SCULPT_ISA_NAMESPACE
