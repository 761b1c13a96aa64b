#pragma once
// The settings of NCCL that decide in which order it adds. NCCL chooses them for the machine unless
// its environment says otherwise, and the bits of a sum follow from them.

#include <string>

namespace sculpt::kernels::nccl {

/// Fixes the settings that the user has not given. Call it before the first call of NCCL, which
/// reads them once.
void pin_settings();

/// Returns "NCCL_ALGO=Ring, NCCL_PROTO=Simple, ..." as they are now.
std::string describe_settings();

}  // namespace sculpt::kernels::nccl
