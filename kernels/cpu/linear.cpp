// A fully connected layer is a 1x1 convolution. The blocks of the batch are its row of pixels.

#include "kernels/cpu/linear.h"

#include "kernels/cpu/conv2d/taps.h"
#include "kernels/cpu/conv2d/weight_grad.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Returns a zone in which the batch blocks of [blocks][features][lanes] are a row of pixels.
Zone block_zone(int64_t in, int64_t out, const Launch& launch) {
  return {.count = ceil_div(launch.batch, kLanes), .y_step = out * kLanes, .x_step = in * kLanes};
}

constexpr Zone kOneRow;

TapConv one_row(void* y, int64_t out, const void* x, int64_t in, const void* weight,
                const Zone& blocks) {
  TapConv conv;
  conv.y = static_cast<float*>(y);
  conv.y_stride = {.channel = kLanes};
  conv.x = static_cast<const float*>(x);
  conv.x_stride = {.channel = kLanes};
  conv.weight = static_cast<const float*>(weight);
  conv.rows = {&kOneRow, 1};
  conv.columns = {&blocks, 1};
  conv.blocks = 1;
  conv.out_channels = out;
  conv.in_channels = in;
  return conv;
}

size_t linear_workspace_bytes(const LinearShape&, int64_t) {
  return 0;
}

void linear_forward(void* y, const void* x, const void* weight, const void* bias,
                    const LinearShape& shape, void*, const Launch& launch) {
  const Zone blocks = block_zone(shape.in_features, shape.out_features, launch);
  TapConv conv = one_row(y, shape.out_features, x, shape.in_features, weight, blocks);
  conv.weight_out = shape.in_features;
  conv.weight_in = 1;
  conv.bias = static_cast<const float*>(bias);
  tap_conv(conv);
}

void linear_input_grad(void* dx, const void* dy, const void* weight, const LinearShape& shape,
                       GradWrite write, void*, const Launch& launch) {
  const Zone blocks = block_zone(shape.out_features, shape.in_features, launch);
  TapConv conv = one_row(dx, shape.in_features, dy, shape.out_features, weight, blocks);
  conv.weight_out = 1;
  conv.weight_in = shape.in_features;
  conv.accumulate = write == GradWrite::accumulate;
  tap_conv(conv);
}

void linear_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const LinearShape& shape, GradWrite write, void*, const Launch& launch) {
  const GradTap tap = {.column_end = ceil_div(launch.batch, kLanes)};
  TapWeightGrad grad;
  grad.dweight = static_cast<float*>(dweight);
  grad.dbias = static_cast<float*>(dbias);
  grad.dy = static_cast<const float*>(dy);
  grad.dy_stride = {.channel = kLanes, .column = shape.out_features * kLanes};
  grad.x = static_cast<const float*>(x);
  grad.x_stride = {.channel = kLanes, .column = shape.in_features * kLanes};
  grad.taps = &tap;
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
