#pragma once
// An array that both host code and kernels use. A device with memory of its own holds a second
// copy; whichever side asks gets the newest values, and bytes move only when the other side may
// have written since. Where kernels work on the host's memory there is one copy and nothing moves.
//
// A pointer is good for reading and writing until the other side asks for its own.

#include "engine/core/buffer.h"

namespace sculpt {

class MirroredBuffer {
 public:
  MirroredBuffer() = default;
  /// Zero-initialised. Throws Error naming `what` if the memory cannot be had.
  MirroredBuffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory);

  size_t bytes() const { return bytes_; }

  /// For host code, which may write.
  std::byte* host();
  /// For host code that only reads.
  const std::byte* host() const;
  /// For kernels, which may write.
  std::byte* device();
  /// For kernels that only read.
  const std::byte* device() const;
  /// Zeroes both sides without moving bytes.
  void zero();

 private:
  void fetch() const;
  void send() const;

  size_t bytes_ = 0;
  const kernels::DeviceMemory* memory_ = nullptr;
  const char* what_ = "";
  mutable Buffer host_;  // allocated when host code first asks, if there is a device
  mutable Buffer device_;
  mutable bool host_stale_ = false;
  mutable bool device_stale_ = false;
};

}  // namespace sculpt
