#pragma once
// The processor's name, for records.

#include <string>

namespace sculpt::kernels {

/// Returns the name as the system reports it, e.g. "AMD EPYC"; empty if the system does not report
/// one.
std::string cpu_name();

}  // namespace sculpt::kernels
