#pragma once
// The two backward passes that conv2d_kernels() puts in its table, and the bias gradient, which is
// a part of one of them.

#include "kernels/conv2d.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch);

void conv2d_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const Conv2dShape& shape, GradWrite write, void* workspace,
                        const Launch& launch);

/// dbias [out] (=, +=) sum over images and pixels of dy.
void conv2d_bias_grad(void* dbias, const void* dy, const Conv2dShape& shape, GradWrite write,
                      const Launch& launch);

}  // namespace SCULPT_ISA_NAMESPACE
