#pragma once
// Converts a Conv2dShape to the zones of kernels/cpu/conv2d/taps.h.

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d/taps.h"

namespace SCULPT_ISA_NAMESPACE {

Strides activation_strides(const ActivationShape& shape, int64_t groups);

/// Returns the largest number of zones, rows and columns together.
int64_t max_zones(const Conv2dShape& shape);

/// These functions write zones to `zones`, which has room for max_zones(), and set them in `conv`.
/// forward_zones: the zones of the output. input_grad_zones: the zones of the input, whose gradient
/// is computed from the output's gradient.
void forward_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv);
void input_grad_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv);

}  // namespace SCULPT_ISA_NAMESPACE
