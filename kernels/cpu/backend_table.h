#pragma once
// The tables of every instruction set in the build; only some of them may run on this machine.

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

/// The backend for "avx512", "avx2" or "portable"; throws Error for another name and for one that
/// this machine or this build does not have.
const Backend& cpu_backend_for(std::string_view isa);

}  // namespace sculpt::kernels
