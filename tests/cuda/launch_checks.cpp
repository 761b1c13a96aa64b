// The functions that SCULPT_LAUNCH calls, for test programs that do not link the backend.

#include "kernels/common/check.h"
#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"

namespace sculpt::kernels::cuda {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("{}: CUDA says '{}'", what, cudaGetErrorString(status));
}

void raise(const std::string& message) {
  throw Error(message);
}

DeviceGuard::DeviceGuard() noexcept = default;
DeviceGuard::~DeviceGuard() = default;

namespace detail {

void check_launch(const char* kernel, cudaStream_t) {
  check(cudaGetLastError(), kernel);
}

void allow_shared_memory(const void* kernel, const char* name, size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        name);
}

bool may_start_early(const void*, const char*) {
  return false;  // the kernels of these programs do not wait for the kernel before them
}

}  // namespace detail
}  // namespace sculpt::kernels::cuda
