#pragma once
// Convolutions for which a matrix multiplication would be wasteful: those with groups of few
// channels, above all depthwise convolutions. One thread computes one output vector, without shared
// memory.

#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d/splits.h"

namespace sculpt::kernels::cuda {

/// Groups with fewer channels would leave most of a GEMM tile empty.
inline constexpr int64_t kNarrowGroup = 8;

inline bool prefers_direct(const Conv2dShape& shape) {
  return shape.groups > 1 && (shape.in_channels_per_group() < kNarrowGroup ||
                              shape.out_channels_per_group() < kNarrowGroup);
}

template <class T>
void direct_forward(const ConvForward& args, const Conv2dShape& shape);

template <class T>
void direct_input_grad(const ConvInputGrad& args, const Conv2dShape& shape);

/// Writes one partial sum per split of the pixels: partials[split][o][r][s][c]. Reads dy and x.
template <class T>
void direct_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                        const Splits& splits);

}  // namespace sculpt::kernels::cuda
