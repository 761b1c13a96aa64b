#pragma once
// The sparse convolutions of this instruction set.

#include "kernels/cpu/vec.h"
#include "kernels/sparse_conv2d.h"

namespace SCULPT_ISA_NAMESPACE {

SparseConv2dKernels sparse_conv2d_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
