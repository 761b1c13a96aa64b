#pragma once
// Fully connected layer: y[n,o] = bias[o] + sum_i w[o,i] * x[n,i].
//
// Activations are [ceil(batch/lanes)][features][lanes] (layout.h with height = width = 1, halo 0);
// weights OI, [out][in]. Deterministic.

#include <cstddef>

#include "kernels/common/layout.h"
#include "kernels/conv_arguments.h"

namespace sculpt::kernels {

struct LinearShape {
  int64_t in_features = 0;
  int64_t out_features = 0;
};

struct LinearKernels {
  size_t (*workspace_bytes)(const LinearShape&, int64_t max_batch);

  /// y := x w^T + bias.
  void (*forward)(const ConvForward& args, const LinearShape& shape);
  /// dx (=, +=) dy w.
  void (*input_grad)(const ConvInputGrad& args, const LinearShape& shape);
  /// dw (=, +=) dy^T x; dbias (=, +=) column sums of dy.
  void (*weight_grad)(const ConvWeightGrad& args, const LinearShape& shape);
};

}  // namespace sculpt::kernels
