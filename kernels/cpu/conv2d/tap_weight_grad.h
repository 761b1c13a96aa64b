#pragma once
// The loop nest of weight gradients, which the convolution and the fully connected layer share. All
// offsets and strides are in floats.

#include <cstdint>

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// One position of the kernel window.
struct GradTap {
  int64_t x = 0;  ///< offset of its input cell from a pixel's anchor
  /// The rows and columns of dy whose pixels meet the input at this tap, and not its padding.
  int64_t row_begin = 0;
  int64_t row_end = 1;
  int64_t column_begin = 0;
  int64_t column_end = 1;
};

/// dw[g,o,c,t] (=, +=) sum_{b,i,j} dy[b,g,o,i,j] * x[b,g,c,(i,j) moved by tap t]
struct TapWeightGrad {
  struct Strides {
    int64_t block = 0;
    int64_t group = 0;
    int64_t channel = 0;
    int64_t row = 0;
    int64_t column = 0;
  };

  float* dweight = nullptr;  ///< [groups][out_channels][in_channels][tap_count]
  float* dbias = nullptr;    ///< [groups * out_channels] or null
  const float* dy = nullptr;
  Strides dy_stride;
  const float* x = nullptr;
  Strides x_stride;  ///< row, column: distance between the input cells of neighbouring pixels of dy

  const GradTap* taps = nullptr;
  int64_t tap_count = 0;

  int64_t blocks = 0;
  int64_t groups = 1;
  int64_t out_channels = 0;  ///< output channels of one group
  int64_t in_channels = 0;
  int64_t rows = 1;
  int64_t columns = 1;
  bool accumulate = false;
};

/// Computes the gradient on all threads. Each element is summed by one thread, in an order that
/// depends on the sizes only.
void tap_weight_grad(const TapWeightGrad& grad);

/// dbias[g,o] (=, +=) sum_{b,i,j} dy[b,g,o,i,j], on all threads. Reads no member of x, the weight
/// or the taps.
void tap_bias_grad(const TapWeightGrad& grad);

}  // namespace SCULPT_ISA_NAMESPACE
