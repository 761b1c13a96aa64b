#pragma once
// The three passes of a convolution, for Math = Bf16, Tf32 or Fp32 (implicit_gemm_math.h). The
// linear layer is a convolution of 1 x 1 images.

#include "kernels/conv2d.h"

namespace sculpt::kernels::cuda {

template <class Math>
void conv2d_forward(void* y, const void* x, const void* weight, const void* bias,
                    const Conv2dShape& shape, void* workspace, const Launch& launch);

template <class Math>
void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch);

template <class Math>
void conv2d_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const Conv2dShape& shape, GradWrite write, void* workspace,
                        const Launch& launch);

/// Scratch of the weight gradient; the other passes need none.
size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t max_batch);

}  // namespace sculpt::kernels::cuda
