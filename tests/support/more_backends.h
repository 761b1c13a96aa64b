#pragma once
// Backends besides the CPU's that a test program can name: those of a GPU, or of the host layer
// that stands in for one. Throws Error if there are none.

#include <string_view>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::test {

/// Those that may be the one called `name`: others need not be made ready.
std::vector<const kernels::Backend*> more_backends(std::string_view name);

/// What the backends called "...-cudnn" have given to the library so far, and what it refused.
const kernels::Choices& choices_for_cudnn();

}  // namespace sculpt::test
