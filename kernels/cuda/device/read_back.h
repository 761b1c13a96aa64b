#pragma once
// Copies one value from the device.

#include "kernels/cuda/device/device_memory.h"

namespace sculpt::kernels::cuda {

/// Waits for all work on the backend's stream. `what` is for error messages.
template <class T>
T read_back(const T* from, const char* what) {
  T value;
  copy_out(&value, from, sizeof(value), what);
  return value;
}

}  // namespace sculpt::kernels::cuda
