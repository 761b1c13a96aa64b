#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/loss.h"

namespace SCULPT_ISA_NAMESPACE {

LossKernels loss_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
