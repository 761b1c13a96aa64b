// A fully connected layer is a 1x1 convolution. The blocks of the batch are its row of pixels.

#include "kernels/linear.h"

#include "kernels/cpu/conv2d/tap_weight_grad.h"
#include "kernels/cpu/conv2d/taps.h"
#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// Returns a zone in which the batch blocks of [blocks][features][lanes] are a row of pixels.
Zone block_zone(int64_t in, int64_t out, const Launch& launch) {
  return {.count = ceil_div(launch.batch, kLanes), .y_step = out * kLanes, .x_step = in * kLanes};
}

constexpr Zone kOneRow;

/// Returns the parts of the loop nest that the forward pass and the input gradient share.
TapConv one_row(int64_t out, int64_t in, const Zone& blocks) {
  TapConv conv;
  conv.y_stride = {.channel = kLanes};
  conv.x_stride = {.channel = kLanes};
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

void linear_forward(const ConvForward& args, const LinearShape& shape) {
  const Zone blocks = block_zone(shape.in_features, shape.out_features, args.launch);
  TapConv conv = one_row(shape.out_features, shape.in_features, blocks);
  conv.y = floats(args.y);
  conv.x = floats(args.x);
  conv.weight = floats(args.weight);
  conv.weight_out = shape.in_features;
  conv.weight_in = 1;
  conv.bias = floats(args.bias);
  tap_conv(conv);
}

void linear_input_grad(const ConvInputGrad& args, const LinearShape& shape) {
  const Zone blocks = block_zone(shape.out_features, shape.in_features, args.launch);
  TapConv conv = one_row(shape.in_features, shape.out_features, blocks);
  conv.y = floats(args.dx);
  conv.x = floats(args.dy);
  conv.weight = floats(args.weight);
  conv.weight_out = 1;
  conv.weight_in = shape.in_features;
  conv.accumulate = args.write == GradWrite::accumulate;
  tap_conv(conv);
}

void linear_weight_grad(const ConvWeightGrad& args, const LinearShape& shape) {
  const int64_t blocks = ceil_div(args.launch.batch, kLanes);
  const GradTap tap = {.column_end = blocks};
  TapWeightGrad grad;
  grad.dweight = floats(args.dweight);
  grad.dbias = floats(args.dbias);
  grad.dy = floats(args.dy);
  grad.dy_stride = {.channel = kLanes, .column = shape.out_features * kLanes};
  grad.x = floats(args.x);
  grad.x_stride = {.channel = kLanes, .column = shape.in_features * kLanes};
  grad.taps = &tap;
  grad.tap_count = 1;
  grad.blocks = 1;
  grad.out_channels = shape.out_features;
  grad.in_channels = shape.in_features;
  grad.columns = blocks;
  grad.accumulate = args.write == GradWrite::accumulate;
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
