#pragma once

#include "kernels/batch_norm.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

BatchNormKernels batch_norm_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
