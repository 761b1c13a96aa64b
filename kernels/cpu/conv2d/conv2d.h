#pragma once
// The convolutions of this instruction set. Each pass has its own file: forward.cpp (which also has
// the table), input_grad.cpp and weight_grad.cpp.

#include "kernels/conv2d.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

Conv2dKernels conv2d_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
