#include "kernels/cuda/device_memory.h"

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cuda/status.h"
#include "kernels/cuda/stream.h"

namespace sculpt::kernels::cuda {
namespace {

void* allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the caller reports it
    return nullptr;
  }
  check(status, "allocating GPU memory");
  return data;
}

// A destructor's work: an error here would hide the one that led to it.
void release(void* data) {
  cudaFree(data);
}

void zero(void* data, size_t bytes) {
  check(cudaMemsetAsync(data, 0, bytes, backend_stream()), "zeroing GPU memory");
}

void copy_in(void* device, const void* host, size_t bytes) {
  // From pageable memory: returns when the host's bytes have been read.
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, backend_stream()),
        "copying to the GPU");
}

void copy_out(void* host, const void* device, size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend_stream()),
        "copying from the GPU");
  check(cudaStreamSynchronize(backend_stream()), "waiting for the GPU");
}

void synchronize() {
  check(cudaStreamSynchronize(backend_stream()), "waiting for the GPU");
}

/// A copy under way. Only into pinned memory does it not wait.
struct Readback {
  void* pinned = nullptr;
  cudaEvent_t arrived = nullptr;
};

std::vector<std::unique_ptr<Readback>>& idle_readbacks() {
  static std::vector<std::unique_ptr<Readback>> idle;
  return idle;
}

std::unique_ptr<Readback> take_readback() {
  auto& idle = idle_readbacks();
  if (!idle.empty()) {
    auto readback = std::move(idle.back());
    idle.pop_back();
    return readback;
  }
  auto readback = std::make_unique<Readback>();
  check(cudaMallocHost(&readback->pinned, kReadbackBytes), "allocating pinned memory");
  check(cudaEventCreateWithFlags(&readback->arrived, cudaEventDisableTiming),
        "creating a CUDA event");
  return readback;
}

void* begin_readback(const void* device, size_t bytes) {
  auto readback = take_readback();
  check(cudaMemcpyAsync(readback->pinned, device, bytes, cudaMemcpyDeviceToHost, backend_stream()),
        "copying from the GPU");
  check(cudaEventRecord(readback->arrived, backend_stream()), "recording a CUDA event");
  return readback.release();
}

void end_readback(void* readback, void* host, size_t bytes) {
  std::unique_ptr<Readback> ended(static_cast<Readback*>(readback));
  const cudaError_t status = cudaEventSynchronize(ended->arrived);
  if (bytes > 0) std::memcpy(host, ended->pinned, bytes);
  idle_readbacks().push_back(std::move(ended));
  if (bytes > 0) check(status, "waiting for the GPU");
}

}  // namespace

const DeviceMemory& device_memory() {
  static constexpr DeviceMemory kMemory = {allocate, release,     zero,           copy_in,
                                           copy_out, synchronize, begin_readback, end_readback};
  return kMemory;
}

}  // namespace sculpt::kernels::cuda
