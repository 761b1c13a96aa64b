#pragma once
// The loop nest that forward, input gradient and the fully connected layer share: every output cell
// is a sum over channels and taps of a weight times an input cell.
//
//   y[b,g,o,i,j] (=, +=) bias[g,o] + sum_{c,t} w[g,o,c,tap t] * x[b,g,c,i,j, moved by tap t]
//
// All strides are in floats, so that transposed weights, strided outputs (one parity class of an
// input gradient) and a batch laid out as pixels are only other strides.

#include <cstdint>

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// One position of the kernel window.
struct Tap {
  int64_t x = 0;  ///< offset of its input cell from the output cell's anchor
  int64_t w = 0;  ///< offset of its weight from the channel's first weight
};

/// Distances in floats between neighbours along each axis of an activation.
struct Strides {
  int64_t block = 0;
  int64_t group = 0;
  int64_t channel = 0;
  int64_t row = 0;
  int64_t column = 0;
};

struct TapConv {
  float* y = nullptr;
  Strides y_stride;
  const float* x = nullptr;
  Strides x_stride;  ///< row, column: between the anchors of neighbouring outputs

  const float* weight = nullptr;
  int64_t weight_group = 0;
  int64_t weight_out = 0;
  int64_t weight_in = 0;
  const float* bias = nullptr;  ///< [groups * out_channels] or null

  const Tap* taps = nullptr;
  int64_t tap_count = 0;
  int64_t reach_h = 1;  ///< window height and width in cells, to judge what fits a cache
  int64_t reach_w = 1;

  int64_t blocks = 0;
  int64_t groups = 1;
  int64_t out_channels = 0;  ///< of one group, as in_channels
  int64_t in_channels = 0;
  int64_t rows = 1;
  int64_t columns = 1;
  bool accumulate = false;
};

/// Runs it on all threads. The order of every sum depends on the sizes only.
void tap_conv(const TapConv& conv);

/// The same window turned round: how strongly each weight connects x and dy.
///
///   dw[g,o,c,t] (=, +=) sum_{b,i,j} dy[b,g,o,i,j] * x[b,g,c,i,j, moved by tap t]
///
/// dw is [groups][out_channels][in_channels][tap_count], whatever Tap::w says.
struct TapWeightGrad {
  float* dweight = nullptr;
  float* dbias = nullptr;  ///< [groups * out_channels] or null
  const float* dy = nullptr;
  Strides dy_stride;
  const float* x = nullptr;
  Strides x_stride;

  const Tap* taps = nullptr;
  int64_t tap_count = 0;

  int64_t blocks = 0;
  int64_t groups = 1;
  int64_t out_channels = 0;
  int64_t in_channels = 0;
  int64_t rows = 1;
  int64_t columns = 1;
  bool accumulate = false;
};

/// Runs it on all threads. Each element is summed by one thread, in an order that depends on the
/// sizes only.
void tap_weight_grad(const TapWeightGrad& grad);

}  // namespace SCULPT_ISA_NAMESPACE
