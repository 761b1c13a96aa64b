#pragma once

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

double fma_probe(int64_t iterations);

}  // namespace SCULPT_ISA_NAMESPACE
