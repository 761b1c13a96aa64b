#pragma once
// Fully connected layer: y[n,o] = bias[o] + sum_i w[o,i] * x[n,i].
//
// Activations are [ceil(batch/lanes)][features][lanes] (layout.h with height = width = 1, halo 0);
// weights OI, [out][in]. Deterministic.

#include <cstddef>

#include "kernels/common/layout.h"

namespace sculpt::kernels {

struct LinearShape {
  int64_t in_features = 0;
  int64_t out_features = 0;
};

struct LinearKernels {
  size_t (*workspace_bytes)(const LinearShape&, int64_t max_batch);

  /// y := x w^T + bias. bias [out] may be null.
  void (*forward)(void* y, const void* x, const void* weight, const void* bias,
                  const LinearShape& shape, void* workspace, const Launch& launch);

  /// dx (=, +=) dy w.
  void (*input_grad)(void* dx, const void* dy, const void* weight, const LinearShape& shape,
                     GradWrite write, void* workspace, const Launch& launch);

  /// dw (=, +=) dy^T x; dbias [out] (=, +=) column sums of dy, may be null.
  void (*weight_grad)(void* dweight, void* dbias, const void* dy, const void* x,
                      const LinearShape& shape, GradWrite write, void* workspace,
                      const Launch& launch);
};

}  // namespace sculpt::kernels
