#pragma once
// Allocation and copies of GPU memory.

#include "kernels/device/memory.h"

namespace sculpt::kernels::cuda {

/// Returns the memory operations. They are ordered on the backend's stream and may be called from
/// any thread.
const DeviceMemory& device_memory();

// The same operations for the backend's own functions, which must not call the CUDA runtime in any
// other place. `what` is for error messages.

/// The host's bytes may be reused as soon as this function returns, because they have been copied
/// to memory of ours.
void copy_in(void* device, const void* host, size_t bytes, const char* what);
/// Waits for all work on the stream, and for the copy.
void copy_out(void* host, const void* device, size_t bytes, const char* what);
/// Sets all bytes to `byte`.
void set_bytes(void* device, int byte, size_t bytes, const char* what);

}  // namespace sculpt::kernels::cuda
