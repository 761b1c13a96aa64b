#include "kernels/cuda/device/device_guard.h"

#include <atomic>
#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {
namespace {

std::atomic<int> chosen = 0;

}  // namespace

int chosen_device() {
  return chosen;
}

void choose_device(int index) {
  chosen = index;
}

// Asking costs some nanoseconds; the device is set only where another one is current. What fails
// here fails in the calls that follow, too, which report it; destructors use guards.
DeviceGuard::DeviceGuard() noexcept {
  if (cudaGetDevice(&previous_) != cudaSuccess || previous_ == chosen_device()) return;
  changed_ = cudaSetDevice(chosen_device()) == cudaSuccess;
}

DeviceGuard::~DeviceGuard() {
  if (changed_) cudaSetDevice(previous_);
}

}  // namespace sculpt::kernels::cuda
