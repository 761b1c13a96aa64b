#pragma once
// One value from the device.

#include <cuda_runtime.h>

#include "kernels/cuda/status.h"

namespace sculpt::kernels::cuda {

/// Waits for what `stream` has been given. `what`: for the message of an error.
template <class T>
T read_back(const T* from, void* stream, const char* what) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  T value;
  check(cudaMemcpyAsync(&value, from, sizeof(value), cudaMemcpyDeviceToHost, cuda_stream), what);
  check(cudaStreamSynchronize(cuda_stream), what);
  return value;
}

}  // namespace sculpt::kernels::cuda
