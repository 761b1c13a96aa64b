#pragma once
// The processor's name, for records.

#include <string>

namespace sculpt::kernels {

/// As the system calls it, e.g. "AMD EPYC"; empty if it does not.
std::string cpu_name();

}  // namespace sculpt::kernels
