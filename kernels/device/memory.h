#pragma once
// Memory of a device that host code cannot address. All operations are ordered with the kernels of
// the backend's stream.

#include <cstddef>

namespace sculpt::kernels {

inline constexpr size_t kReadbackBytes = 64;

struct DeviceMemory {
  /// 256-byte aligned; null if there is not enough.
  void* (*allocate)(size_t bytes);
  void (*free)(void* data);
  void (*zero)(void* data, size_t bytes);
  /// The host's bytes may be reused as soon as this returns.
  void (*copy_in)(void* device, const void* host, size_t bytes);
  /// Waits for the kernels launched before it, and for the bytes.
  void (*copy_out)(void* host, const void* device, size_t bytes);
  /// Waits for everything launched so far.
  void (*synchronize)();
  /// Begins to copy at most kReadbackBytes out as they will be after the kernels launched so far,
  /// and waits for nothing.
  void* (*begin_readback)(const void* device, size_t bytes);
  /// Waits for the end of that copy, which it puts at `host`; once for every readback, with 0 bytes
  /// if nobody wants them any more.
  void (*end_readback)(void* readback, void* host, size_t bytes);
};

}  // namespace sculpt::kernels
