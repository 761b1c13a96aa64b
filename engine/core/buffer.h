#pragma once
// Owned, zero-initialised host memory, aligned for vectors, and a count of what is live.

#include <cstddef>
#include <cstdint>
#include <utility>

namespace sculpt {

class Buffer {
 public:
  Buffer() = default;
  /// Throws Error naming `what` if the memory cannot be had.
  Buffer(size_t bytes, const char* what);
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

  /// Bytes of all Buffers alive in the process.
  static size_t live_bytes();

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace sculpt
