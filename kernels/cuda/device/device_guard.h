#pragma once
// The GPU that the backend works on, in every thread.

namespace sculpt::kernels::cuda {

/// The device that use_device() chose; 0 before.
int chosen_device();
void choose_device(int index);

/// Makes the chosen device this thread's current one, and the one that was current again at the
/// end. CUDA keeps a current device per thread, which is device 0 in a new one; a kernel launched
/// from there would be refused by a stream of another device, and memory would be allocated on the
/// wrong one. Every call of the CUDA runtime, cuDNN or cuBLAS is within the life of a guard.
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
