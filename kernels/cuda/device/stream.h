#pragma once
// The single stream on which all work of the backend is ordered.

#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {

/// Returns the stream, which is created on the device that use_device() chose.
cudaStream_t backend_stream();

/// Returns true if every launch is waited for (SCULPT_CUDA_SYNC), so that a fault is reported where
/// it happened.
bool waits_for_launches();

}  // namespace sculpt::kernels::cuda
