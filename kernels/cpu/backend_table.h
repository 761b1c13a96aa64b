#pragma once
// The tables of every instruction set in this build. This machine may not be able to run all of
// them.

#include <string_view>

#include "kernels/device/backend.h"

namespace sculpt::kernels {

namespace portable {
const Backend& backend_table();
}
namespace avx2 {
const Backend& backend_table();
}
namespace avx512 {
const Backend& backend_table();
}

/// Returns the backend for "avx512", "avx2" or "portable". Throws Error for any other name, and if
/// this machine or this build does not have the instruction set.
const Backend& cpu_backend_for(std::string_view isa);

}  // namespace sculpt::kernels
