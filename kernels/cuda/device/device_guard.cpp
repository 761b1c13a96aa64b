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

// Reading the current device costs some nanoseconds, and the device is set only if it is another
// one. Errors are ignored here, because destructors use guards; the calls that follow fail, too,
// and report them.
DeviceGuard::DeviceGuard() noexcept {
  if (cudaGetDevice(&previous_) != cudaSuccess || previous_ == chosen_device()) return;
  changed_ = cudaSetDevice(chosen_device()) == cudaSuccess;
}

DeviceGuard::~DeviceGuard() {
  if (changed_) cudaSetDevice(previous_);
}

}  // namespace sculpt::kernels::cuda
