#pragma once
// Owned, zero-initialised memory of the host or of a device, aligned for vectors. The host's is
// taken from the system page by page when it is first touched, if there is much of it.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/device/memory.h"

namespace sculpt {

class Buffer {
 public:
  Buffer() = default;
  /// Throws Error naming `what`, and what else is in use, if the memory cannot be had. `what` is
  /// kept: a string literal.
  Buffer(size_t bytes, const char* what, const kernels::DeviceMemory* memory = nullptr);
  ~Buffer();
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }
  void zero();

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(what_, other.what_);
    std::swap(memory_, other.memory_);
  }
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  const char* what_ = "";
  const kernels::DeviceMemory* memory_ = nullptr;  // null: the host's
};

/// The most memory that Buffers of this process have held on devices at one time.
size_t peak_device_bytes();

}  // namespace sculpt
