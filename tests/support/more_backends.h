#pragma once
// Backends besides the CPU's that a test program can name: those of a GPU, or of the host layer
// that stands in for one. Throws Error if there are none.

#include <string_view>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::test {

/// Returns the backends that may have this name. Other backends need not be opened.
std::vector<const kernels::Backend*> more_backends(std::string_view name);

/// The passes that the backends called "...-cudnn" have given to the library so far, and those that
/// it refused.
const kernels::Choices& choices_for_cudnn();

}  // namespace sculpt::test
