#pragma once
// Memory of a device that host code cannot address. All operations are ordered with the kernels of
// the backend's stream.

#include <cstddef>

namespace sculpt::kernels {

inline constexpr size_t kReadbackBytes = 64;

struct DeviceMemory {
  /// The memory is 256-byte aligned; null if there is not enough memory.
  void* (*allocate)(size_t bytes);
  void (*free)(void* data);
  void (*zero)(void* data, size_t bytes);
  /// The host's bytes may be reused as soon as this function returns.
  void (*copy_in)(void* device, const void* host, size_t bytes);
  /// Waits for the kernels launched before the call, and for the copy.
  void (*copy_out)(void* host, const void* device, size_t bytes);
  /// Waits for everything launched so far.
  void (*synchronize)();
  /// Starts an asynchronous copy of at most kReadbackBytes from `device`, taken after all kernels
  /// launched so far. Does not wait.
  void* (*begin_readback)(const void* device, size_t bytes);
  /// Waits for the end of that copy and writes the bytes to `host`. Must be called once for every
  /// readback, with 0 bytes if the result is not needed.
  void (*end_readback)(void* readback, void* host, size_t bytes);
};

}  // namespace sculpt::kernels
