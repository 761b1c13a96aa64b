#pragma once
// A DeviceValue is a small value in the backend's memory. Host code sets it between steps and
// kernels read it, so that recorded launches need no new arguments.

#include <cstring>

#include "engine/core/buffer.h"

namespace sculpt {

template <class T>
class DeviceValue {
 public:
  DeviceValue() = default;
  /// The value is zero at first. `memory` is the backend's; null if kernels work on the host's
  /// memory.
  DeviceValue(const char* what, const kernels::DeviceMemory* memory)
      : memory_(memory), buffer_(sizeof(T), what, memory) {}

  /// Sets the value for kernels that are launched from now on. Does not wait.
  void set(const T& value) {
    if (memory_)
      memory_->copy_in(buffer_.data(), &value, sizeof(T));
    else
      std::memcpy(buffer_.data(), &value, sizeof(T));
  }
  /// Waits for the kernels that may have written the value, and returns it.
  T get() const {
    T value;
    if (memory_)
      memory_->copy_out(&value, buffer_.data(), sizeof(T));
    else
      std::memcpy(&value, buffer_.data(), sizeof(T));
    return value;
  }

  /// Returns the address of the value, for kernels.
  T* data() { return buffer_.as<T>(); }

 private:
  const kernels::DeviceMemory* memory_ = nullptr;
  Buffer buffer_;
};

}  // namespace sculpt
