#pragma once
// The loop nest that the forward pass, the input gradient and the fully connected layer share.
// Every output cell is a sum over input channels and taps of a weight times an input cell.
//
// Rows and columns are cut into zones whose pixels have the same taps. Near the border, a kernel
// window covers padding, and multiplying zeros would cost 44 % more on a 4x4 plane. In the input
// gradient of a strided convolution, each parity of a row or column is also a zone of its own. A
// plane is the product of the row zones and the column zones. All offsets and strides are in
// floats.

#include <cstdint>

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// A run of pixels along one axis that share their taps.
struct Zone {
  int64_t count = 1;   ///< pixels
  int64_t y = 0;       ///< offset of the first pixel's output cell
  int64_t y_step = 0;  ///< distance to the output cell of the next pixel
  int64_t x = 0;       ///< offset of the input cell at the first pixel's first tap
  int64_t x_step = 0;

  int64_t tap_count = 1;
  int64_t tap_step = 0;  ///< distance between the input cells of neighbouring taps
  int64_t w = 0;         ///< offset of the first tap's weight
  int64_t w_step = 0;
};

/// The zones of an axis.
struct Axis {
  const Zone* zones = nullptr;
  int64_t count = 0;
};

/// Distances between neighbouring blocks, groups and channels.
struct Strides {
  int64_t block = 0;
  int64_t group = 0;
  int64_t channel = 0;
};

/// y[b,g,o,i,j] (=, +=) bias[g,o] + sum_{c,r,s} w[g,o,c,r,s] * x[b,g,c,(i,j) moved by tap (r,s)]
struct TapConv {
  float* y = nullptr;
  Strides y_stride;
  const float* x = nullptr;
  Strides x_stride;

  const float* weight = nullptr;
  int64_t weight_group = 0;
  int64_t weight_out = 0;
  int64_t weight_in = 0;
  const float* bias = nullptr;  ///< [groups * out_channels] or null

  Axis rows;
  Axis columns;

  int64_t blocks = 0;
  int64_t groups = 1;
  int64_t out_channels = 0;  ///< output channels of one group
  int64_t in_channels = 0;
  bool accumulate = false;
};

/// Computes the convolution on all threads. The order of every sum depends on the sizes only.
void tap_conv(const TapConv& conv);

}  // namespace SCULPT_ISA_NAMESPACE
