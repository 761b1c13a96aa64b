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
void direct_forward(void* y, const void* x, const void* weight, const void* bias,
                    const Conv2dShape& shape, const Launch& launch);

template <class T>
void direct_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, const Launch& launch);

/// Writes one partial sum per split of the pixels: partials[split][o][r][s][c].
template <class T>
void direct_weight_grad(float* partials, const void* dy, const void* x, const Conv2dShape& shape,
                        const Splits& splits, const Launch& launch);

}  // namespace sculpt::kernels::cuda
