#pragma once
// The convolutions of this instruction set. One pass per file: conv2d_forward.cpp (and the table),
// conv2d_input_grad.cpp, conv2d_weight_grad.cpp.

#include "kernels/conv2d.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

Conv2dKernels conv2d_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
