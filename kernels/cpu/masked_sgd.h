#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/masked_sgd.h"

namespace SCULPT_ISA_NAMESPACE {

MaskedSgdKernels masked_sgd_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
