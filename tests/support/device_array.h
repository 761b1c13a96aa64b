#pragma once
// Arrays of a backend's element types in its memory, seen by tests as doubles.

#include <bit>
#include <cstdint>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "kernels/common/check.h"
#include "kernels/device/backend.h"

namespace sculpt::test {

inline double read_element(const std::byte* at, size_t element_bytes) {
  switch (element_bytes) {
    case 2:
      return std::bit_cast<float>(uint32_t{*reinterpret_cast<const uint16_t*>(at)} << 16);
    case 4:
      return *reinterpret_cast<const float*>(at);
    default:
      return *reinterpret_cast<const double*>(at);
  }
}

/// bf16 elements take representable() numbers only.
inline void write_element(std::byte* at, size_t element_bytes, double value) {
  switch (element_bytes) {
    case 2: {
      const auto word = std::bit_cast<uint32_t>(static_cast<float>(value));
      SCULPT_CHECK((word & 0xffffu) == 0, "{} is not a bf16 number", value);
      *reinterpret_cast<uint16_t*>(at) = static_cast<uint16_t>(word >> 16);
      break;
    }
    case 4:
      *reinterpret_cast<float*>(at) = static_cast<float>(value);
      break;
    default:
      *reinterpret_cast<double*>(at) = value;
  }
}

/// `count` elements of 2 (bf16), 4 (float) or 8 (double) bytes.
class DeviceArray {
 public:
  DeviceArray(const kernels::Backend& backend, size_t element_bytes, size_t count)
      : element_bytes_(element_bytes),
        size_(count),
        buffer_(count * element_bytes, "a test's array", backend.memory) {}

  size_t size() const { return size_; }
  size_t element_bytes() const { return element_bytes_; }

  /// The address that kernels use.
  std::byte* device() { return buffer_.edit_device(); }

  double get(size_t i) const {
    return read_element(buffer_.host() + i * element_bytes_, element_bytes_);
  }
  void set(size_t i, double value) {
    write_element(buffer_.edit_host() + i * element_bytes_, element_bytes_, value);
  }

 private:
  size_t element_bytes_;
  size_t size_;
  MirroredBuffer buffer_;
};

/// Plain values of any type in a backend's memory.
template <class T>
class DeviceCopy {
 public:
  DeviceCopy(const kernels::Backend& backend, const std::vector<T>& values)
      : size_(values.size()), buffer_(size_ * sizeof(T), "a test's array", backend.memory) {
    std::copy(values.begin(), values.end(), host());
  }
  T* data() { return reinterpret_cast<T*>(buffer_.edit_device()); }
  T* host() { return reinterpret_cast<T*>(buffer_.edit_host()); }
  std::vector<T> values() { return {host(), host() + size_}; }

 private:
  size_t size_;
  MirroredBuffer buffer_;
};

/// Scratch memory for a kernel.
class DeviceScratch {
 public:
  DeviceScratch(const kernels::Backend& backend, size_t bytes)
      : buffer_(bytes + 1, "a test's workspace", backend.memory) {}
  void* data() { return buffer_.data(); }

 private:
  Buffer buffer_;
};

}  // namespace sculpt::test
