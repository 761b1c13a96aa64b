#pragma once
// Passes host arrays to kernels: directly where kernels work on the host's memory, and through a
// buffer of the device otherwise.

#include <span>

#include "engine/core/buffer.h"

namespace sculpt {

class Staging {
 public:
  /// `memory` is the backend's; null if kernels work on the host's memory.
  explicit Staging(const char* what = "", const kernels::DeviceMemory* memory = nullptr)
      : what_(what), memory_(memory) {}

  /// Returns the address at which kernels find `values`; it is valid until the next call. Without a
  /// device, the host's array must live until the kernels are done. If there is a device, the array
  /// may be freed at once.
  template <class T>
  const T* send(std::span<const T> values) {
    if (!memory_ || values.empty()) return values.data();
    memory_->copy_in(room(values.size_bytes()), values.data(), values.size_bytes());
    return device_.as<T>();
  }

  /// Calls write(address), which lets kernels write the values to `address`. When this function
  /// returns, the host has the values.
  template <class T, class Write>
  void receive(std::span<T> values, const Write& write) {
    if (!memory_ || values.empty()) return write(values.data());
    write(reinterpret_cast<T*>(room(values.size_bytes())));
    memory_->copy_out(values.data(), device_.data(), values.size_bytes());
  }

 private:
  std::byte* room(size_t bytes) {
    if (device_.bytes() < bytes) device_ = Buffer(bytes, what_, memory_);
    return device_.data();
  }

  const char* what_;
  const kernels::DeviceMemory* memory_;
  Buffer device_;
};

}  // namespace sculpt
