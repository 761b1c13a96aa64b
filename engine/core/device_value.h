#pragma once
// A small value that host code sets between steps and kernels read where it lies, in the backend's
// memory: recorded launches need no new arguments.

#include <cstring>

#include "engine/core/buffer.h"

namespace sculpt {

template <class T>
class DeviceValue {
 public:
  DeviceValue() = default;
  /// Zero at first. `memory`: the backend's; null where kernels work on the host's memory.
  DeviceValue(const char* what, const kernels::DeviceMemory* memory)
      : memory_(memory), buffer_(sizeof(T), what, memory) {}

  /// For what is launched from now on. Waits for nothing.
  void set(const T& value) {
    if (memory_)
      memory_->copy_in(buffer_.data(), &value, sizeof(T));
    else
      std::memcpy(buffer_.data(), &value, sizeof(T));
  }
  /// Waits for the kernels that may have written it.
  T get() const {
    T value;
    if (memory_)
      memory_->copy_out(&value, buffer_.data(), sizeof(T));
    else
      std::memcpy(&value, buffer_.data(), sizeof(T));
    return value;
  }

  /// For kernels.
  T* data() { return buffer_.as<T>(); }

 private:
  const kernels::DeviceMemory* memory_ = nullptr;
  Buffer buffer_;
};

}  // namespace sculpt
