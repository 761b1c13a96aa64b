#include "kernels/cuda/device/device_memory.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/stream.h"
#include "kernels/cuda/device/wait.h"

namespace sculpt::kernels::cuda {
namespace {

void* allocate(size_t bytes) {
  const DeviceGuard guard;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the error is not sticky, and the caller reports it
    return nullptr;
  }
  check(status, "allocating GPU memory");
  return data;
}

// Errors are ignored, because destructors call this function and an error here would hide the one
// that led to it.
void release(void* data) {
  const DeviceGuard guard;
  cudaFree(data);
}

void zero(void* data, size_t bytes) {
  set_bytes(data, 0, bytes, "zeroing GPU memory");
}

void copy_to_device(void* device, const void* host, size_t bytes) {
  copy_in(device, host, bytes, "copying to the GPU");
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  copy_out(host, device, bytes, "copying from the GPU");
}

void synchronize() {
  const DeviceGuard guard;
  check(wait_for(backend_stream()), "waiting for the GPU");
}

/// A buffer for bytes on their way to the device. The bytes wait in our own pinned memory, which
/// outlives the copy. The caller's memory would not do: CUDA does not promise that a GPU has
/// finished reading it when cudaMemcpyAsync returns, and GPUs that address pageable memory may
/// still read it. The buffer is a ring of two halves; a half is not reused until its copies are
/// done, and the host waits if it is that far ahead.
class Outbox {
 public:
  Outbox() {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, 2 * kHalfBytes), "allocating pinned memory");
    memory_ = static_cast<std::byte*>(memory);
    for (cudaEvent_t& event : left_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating a CUDA event");
  }

  void send(void* device, const void* host, size_t bytes, const char* what) {
    const std::lock_guard lock(mutex_);
    auto* to = static_cast<std::byte*>(device);
    const auto* from = static_cast<const std::byte*>(host);
    while (bytes > 0) {
      if (used_ == kHalfBytes) enter_other_half();
      const size_t part = std::min(bytes, kHalfBytes - used_);
      std::byte* const place = memory_ + half_ * kHalfBytes + used_;
      std::memcpy(place, from, part);
      check(cudaMemcpyAsync(to, place, part, cudaMemcpyHostToDevice, backend_stream()), what);
      used_ += (part + kAlignment - 1) / kAlignment * kAlignment;
      to += part;
      from += part;
      bytes -= part;
    }
  }

 private:
  static constexpr size_t kHalfBytes = size_t{4} << 20;  // about 1300 RGB images of 32 x 32
  static constexpr size_t kAlignment = 64;

  void enter_other_half() {
    check(cudaEventRecord(left_[half_], backend_stream()), "recording a CUDA event");
    half_ = 1 - half_;
    used_ = 0;
    check(wait_for(left_[half_]), "waiting for the GPU");
  }

  std::mutex mutex_;
  std::byte* memory_ = nullptr;
  size_t half_ = 0;
  size_t used_ = 0;  ///< bytes used in the current half; a multiple of kAlignment
  cudaEvent_t left_[2] = {};
};

/// A copy that is under way. Only a copy into pinned memory does not wait.
struct Readback {
  void* pinned = nullptr;
  cudaEvent_t arrived = nullptr;
};

struct IdleReadbacks {
  std::mutex mutex;
  std::vector<Readback*> readbacks;
};

IdleReadbacks& idle_readbacks() {
  static auto& idle = *new IdleReadbacks;  // never destroyed, like the outbox
  return idle;
}

Readback* take_readback() {
  {
    IdleReadbacks& idle = idle_readbacks();
    const std::lock_guard lock(idle.mutex);
    if (!idle.readbacks.empty()) {
      Readback* const readback = idle.readbacks.back();
      idle.readbacks.pop_back();
      return readback;
    }
  }
  auto* const readback = new Readback;
  check(cudaMallocHost(&readback->pinned, kReadbackBytes), "allocating pinned memory");
  check(cudaEventCreateWithFlags(&readback->arrived, cudaEventDisableTiming),
        "creating a CUDA event");
  return readback;
}

void* begin_readback(const void* device, size_t bytes) {
  const DeviceGuard guard;
  Readback* const readback = take_readback();
  check(cudaMemcpyAsync(readback->pinned, device, bytes, cudaMemcpyDeviceToHost, backend_stream()),
        "copying from the GPU");
  check(cudaEventRecord(readback->arrived, backend_stream()), "recording a CUDA event");
  return readback;
}

void end_readback(void* readback, void* host, size_t bytes) {
  const DeviceGuard guard;
  auto* const ended = static_cast<Readback*>(readback);
  const cudaError_t status = wait_for(ended->arrived);
  if (bytes > 0) std::memcpy(host, ended->pinned, bytes);
  {
    IdleReadbacks& idle = idle_readbacks();
    const std::lock_guard lock(idle.mutex);
    idle.readbacks.push_back(ended);
  }
  if (bytes > 0) check(status, "waiting for the GPU");
}

}  // namespace

void copy_in(void* device, const void* host, size_t bytes, const char* what) {
  const DeviceGuard guard;
  static Outbox& outbox = *new Outbox;  // never destroyed: CUDA may be unloaded first
  outbox.send(device, host, bytes, what);
}

void copy_out(void* host, const void* device, size_t bytes, const char* what) {
  const DeviceGuard guard;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend_stream()), what);
  check(wait_for(backend_stream()), what);
}

void set_bytes(void* device, int byte, size_t bytes, const char* what) {
  const DeviceGuard guard;
  check(cudaMemsetAsync(device, byte, bytes, backend_stream()), what);
}

const DeviceMemory& device_memory() {
  static constexpr DeviceMemory kMemory = {allocate,       release,      zero,
                                           copy_to_device, copy_to_host, synchronize,
                                           begin_readback, end_readback};
  return kMemory;
}

}  // namespace sculpt::kernels::cuda
