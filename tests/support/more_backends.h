#pragma once
// Backends besides the CPU's that a test program can name: those of a GPU, or of the host layer
// that stands in for one. Throws Error if there are none.

#include <vector>

#include "kernels/backend.h"

namespace sculpt::test {

std::vector<const kernels::Backend*> more_backends();

}  // namespace sculpt::test
