// A fully connected layer is a 1x1 convolution over one row of pixels, the batch blocks.

#include "kernels/cpu/linear.h"

#include "kernels/cpu/conv2d_taps.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

constexpr Tap kOneTap;

/// [blocks][features][lanes], with the blocks as columns.
Strides feature_strides(int64_t features) {
  return {.channel = kLanes, .column = features * kLanes};
}

TapConv one_row(void* y, int64_t out, const void* x, int64_t in, const void* weight,
                const Launch& launch) {
  TapConv conv;
  conv.y = static_cast<float*>(y);
  conv.y_stride = feature_strides(out);
  conv.x = static_cast<const float*>(x);
  conv.x_stride = feature_strides(in);
  conv.weight = static_cast<const float*>(weight);
  conv.taps = &kOneTap;
  conv.tap_count = 1;
  conv.blocks = 1;
  conv.out_channels = out;
  conv.in_channels = in;
  conv.columns = ceil_div(launch.batch, kLanes);
  return conv;
}

size_t linear_workspace_bytes(const LinearShape&, int64_t) {
  return 0;
}

void linear_forward(void* y, const void* x, const void* weight, const void* bias,
                    const LinearShape& shape, void*, const Launch& launch) {
  TapConv conv = one_row(y, shape.out_features, x, shape.in_features, weight, launch);
  conv.weight_out = shape.in_features;
  conv.weight_in = 1;
  conv.bias = static_cast<const float*>(bias);
  tap_conv(conv);
}

void linear_input_grad(void* dx, const void* dy, const void* weight, const LinearShape& shape,
                       GradWrite write, void*, const Launch& launch) {
  TapConv conv = one_row(dx, shape.in_features, dy, shape.out_features, weight, launch);
  conv.weight_out = 1;
  conv.weight_in = shape.in_features;
  conv.accumulate = write == GradWrite::accumulate;
  tap_conv(conv);
}

void linear_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const LinearShape& shape, GradWrite write, void*, const Launch& launch) {
  TapWeightGrad grad;
  grad.dweight = static_cast<float*>(dweight);
  grad.dbias = static_cast<float*>(dbias);
  grad.dy = static_cast<const float*>(dy);
  grad.dy_stride = feature_strides(shape.out_features);
  grad.x = static_cast<const float*>(x);
  grad.x_stride = feature_strides(shape.in_features);
  grad.taps = &kOneTap;
  grad.tap_count = 1;
  grad.blocks = 1;
  grad.out_channels = shape.out_features;
  grad.in_channels = shape.in_features;
  grad.columns = ceil_div(launch.batch, kLanes);
  grad.accumulate = write == GradWrite::accumulate;
  tap_weight_grad(grad);
}

}  // namespace

LinearKernels linear_kernels() {
  return {.workspace_bytes = linear_workspace_bytes,
          .forward = linear_forward,
          .input_grad = linear_input_grad,
          .weight_grad = linear_weight_grad};
}

}  // namespace SCULPT_ISA_NAMESPACE
