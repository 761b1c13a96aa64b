#pragma once
// The two backward passes that conv2d_kernels() puts in its table, and the bias gradient, which is
// a part of one of them.

#include "kernels/conv2d.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

void conv2d_input_grad(const ConvInputGrad& args, const Conv2dShape& shape);

void conv2d_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape);

/// args.dbias [out] (=, +=) sum over images and pixels of dy. Ignores x and dweight.
void conv2d_bias_grad(const ConvWeightGrad& args, const ActivationShape& dy_shape);

}  // namespace SCULPT_ISA_NAMESPACE
