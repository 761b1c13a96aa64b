#pragma once
// Winograd convolutions of this instruction set. winograd.cpp has the table and the passes that
// write activations; weight_grad.cpp has the gradient of the weight.

#include "kernels/cpu/vec.h"
#include "kernels/winograd.h"

namespace SCULPT_ISA_NAMESPACE {

WinogradKernels winograd_kernels();

}  // namespace SCULPT_ISA_NAMESPACE
