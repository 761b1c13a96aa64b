#pragma once
// The one stream that all work of the backend is ordered on.

#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {

/// Created on the device that use_device() chose.
cudaStream_t backend_stream();

/// Whether every launch is waited for (SCULPT_CUDA_SYNC), so that a fault is reported where it
/// happened.
bool waits_for_launches();

}  // namespace sculpt::kernels::cuda
