#pragma once
// From a Conv2dShape to the zones of kernels/cpu/conv2d/taps.h.

#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d/taps.h"

namespace SCULPT_ISA_NAMESPACE {

Strides activation_strides(const ActivationShape& shape, int64_t groups);

/// Zones at most, rows and columns together.
int64_t max_zones(const Conv2dShape& shape);

/// The zones of the output (forward) or of the input (its gradient, read from the output's),
/// written to `zones`, which has room for max_zones().
void forward_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv);
void input_grad_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv);

}  // namespace SCULPT_ISA_NAMESPACE
