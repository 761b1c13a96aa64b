#pragma once
// A MirroredBuffer is an array that both host code and kernels use. A device with memory of its own
// holds a second copy. A request from either side returns the newest values, and bytes are copied
// only if the other side may have written since. If kernels work on the host's memory, there is one
// copy and nothing is copied.
//
// A pointer is valid for reading and writing until the other side requests its pointer.

#include "engine/core/buffer.h"

namespace sculpt {

class MirroredBuffer {
 public:
  MirroredBuffer() = default;
  /// The memory is zero-initialised. Throws Error naming `what` if there is not enough memory.
  MirroredBuffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory);

  size_t bytes() const { return bytes_; }

  // These functions are for host code: the first to read, the second to read and write.
  const std::byte* host() const;
  std::byte* edit_host();
  // These functions are for kernels: the first to read, the second to read and write.
  const std::byte* device() const;
  std::byte* edit_device();
  /// Zeroes both sides without copying bytes.
  void zero();

 private:
  void fetch() const;
  void send() const;

  size_t bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  const char* what_ = "";
  mutable Buffer host_;  // on a device: allocated at the first request of host code
  mutable Buffer device_;
  mutable bool host_stale_ = false;
  mutable bool device_stale_ = false;
};

}  // namespace sculpt
