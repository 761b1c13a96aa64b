#pragma once
// One value from the device.

#include "kernels/cuda/device/device_memory.h"

namespace sculpt::kernels::cuda {

/// Waits for what the backend's stream has been given. `what`: for the message of an error.
template <class T>
T read_back(const T* from, const char* what) {
  T value;
  copy_out(&value, from, sizeof(value), what);
  return value;
}

}  // namespace sculpt::kernels::cuda
