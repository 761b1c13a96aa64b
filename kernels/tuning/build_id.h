#pragma once
// Reads the build id, which the linker computes from the content of a program or library. The build
// id changes whenever the content changes.

#include <string>

namespace sculpt::kernels {

/// Returns the build id, in hexadecimal, of the program or library that contains `address`; empty
/// if it has no build id.
std::string build_id(const void* address);

}  // namespace sculpt::kernels
