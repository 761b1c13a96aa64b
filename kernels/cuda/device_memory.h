#pragma once
// The GPU's memory.

#include "kernels/memory.h"

namespace sculpt::kernels::cuda {

/// Operations are ordered on the backend's stream.
const DeviceMemory& device_memory();

}  // namespace sculpt::kernels::cuda
