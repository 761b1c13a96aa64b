#pragma once
// A Buffer owns zero-initialised memory of the host or of a device, aligned for vectors. Large host
// buffers get their memory from the system page by page, when each page is first touched.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/device/memory.h"

namespace sculpt {

class Buffer {
 public:
  Buffer() = default;
  /// Throws Error if there is not enough memory; the message names `what` and what else is in use.
  /// `what` must be a string literal, because the pointer is kept.
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
  const kernels::DeviceMemory* memory_ = nullptr;  // null: host memory
};

/// Returns the largest number of bytes that the Buffers of this process have held on devices at one
/// time.
size_t peak_device_bytes();

}  // namespace sculpt
