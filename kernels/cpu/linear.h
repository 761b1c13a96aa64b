#pragma once
// The fully connected layer of this instruction set.

#include "kernels/cpu/vec.h"
#include "kernels/linear.h"

namespace SCULPT_ISA_NAMESPACE {

LinearKernels linear_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
