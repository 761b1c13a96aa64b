#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/input.h"

namespace SCULPT_ISA_NAMESPACE {

InputKernels input_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
