#pragma once
// Backends besides the CPU's that a test program can name: none, or the CUDA ones.

#include <vector>

#include "kernels/backend.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends();

}  // namespace sculpt::test
