#pragma once
// The GPU's memory.

#include "kernels/device/memory.h"

namespace sculpt::kernels::cuda {

/// Operations are ordered on the backend's stream, and may come from any thread.
const DeviceMemory& device_memory();

// The same for the backend's own functions, which call the CUDA runtime nowhere else. `what`: for
// the message of an error.

/// The host's bytes may be reused as soon as this returns: they are in memory of ours by then.
void copy_in(void* device, const void* host, size_t bytes, const char* what);
/// Waits for what the stream has been given, and for the bytes.
void copy_out(void* host, const void* device, size_t bytes, const char* what);
/// Sets all bytes to `byte`.
void set_bytes(void* device, int byte, size_t bytes, const char* what);

}  // namespace sculpt::kernels::cuda
