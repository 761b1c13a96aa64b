#pragma once
// Selects the GPU that the backend works on, in every thread.

namespace sculpt::kernels::cuda {

/// Returns the device that use_device() chose; 0 before use_device() was called.
int chosen_device();
void choose_device(int index);

/// Makes the chosen device this thread's current device, and restores the previous one at the end.
/// CUDA keeps a current device per thread, and in a new thread this is device 0. A kernel launched
/// there would be refused by a stream of another device, and memory would be allocated on the wrong
/// device. Every call of the CUDA runtime, cuDNN or cuBLAS must therefore be made while a guard
/// lives.
class DeviceGuard {
 public:
  DeviceGuard() noexcept;
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

}  // namespace sculpt::kernels::cuda
