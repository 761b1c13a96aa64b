#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/elementwise.h"

namespace SCULPT_ISA_NAMESPACE {

ElementwiseKernels elementwise_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
