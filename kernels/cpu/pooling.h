#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/pooling.h"

namespace SCULPT_ISA_NAMESPACE {

PoolingKernels pooling_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
