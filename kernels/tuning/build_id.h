#pragma once
// What the linker made of a program's or library's content: changes whenever that does.

#include <string>

namespace sculpt::kernels {

/// The build id, in hexadecimal, of the program or library that `address` lies in; empty if it has
/// none.
std::string build_id(const void* address);

}  // namespace sculpt::kernels
