#pragma once
// A Readback is a value that is being copied from the device while host and device continue to
// work.

#include <utility>

#include "kernels/device/memory.h"

namespace sculpt {

template <class T>
class Readback {
 public:
  /// Starts an asynchronous copy of `*device`, taken after all kernels launched so far.
  Readback(const kernels::DeviceMemory& memory, const T* device)
      : memory_(&memory), readback_(memory.begin_readback(device, sizeof(T))) {
    static_assert(sizeof(T) <= kernels::kReadbackBytes);
  }
  Readback(Readback&& other) noexcept
      : memory_(other.memory_), readback_(std::exchange(other.readback_, nullptr)) {}
  Readback& operator=(Readback&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(readback_, other.readback_);
    return *this;
  }
  ~Readback() {
    if (readback_) memory_->end_readback(readback_, nullptr, 0);
  }

  /// Waits for the copy and returns the value. May be called once.
  T get() {
    T value;
    memory_->end_readback(std::exchange(readback_, nullptr), &value, sizeof(T));
    return value;
  }

 private:
  const kernels::DeviceMemory* memory_;
  void* readback_;
};

}  // namespace sculpt
