#pragma once
// What the three passes of the convolution share: the mapping of a Conv2dShape to strides and taps
// (kernels/cpu/conv2d_taps.h), and the two backward passes, which conv2d_kernels() puts in its
// table.

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_taps.h"

namespace SCULPT_ISA_NAMESPACE {

/// Strides between neighbouring cells of an activation.
Strides activation_strides(const ActivationShape& shape, int64_t groups);

/// Strides in the input between the windows of neighbouring outputs.
Strides anchor_strides(const Conv2dShape& shape);

/// The kernel window on the input, in OIHW order, written to the workspace.
const Tap* window_taps(const Conv2dShape& shape, void* workspace);

void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch);

void conv2d_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const Conv2dShape& shape, GradWrite write, void* workspace,
                        const Launch& launch);

}  // namespace SCULPT_ISA_NAMESPACE
