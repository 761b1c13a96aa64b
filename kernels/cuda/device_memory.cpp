#include "kernels/cuda/device_memory.h"

#include <cstring>
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

void synchronize() {
  check(cudaStreamSynchronize(backend_stream()), "waiting for the GPU");
}

/// Whether the GPU addresses the host's pageable memory, and so may read it after a copy's call.
bool reads_pageable_memory_in_place() {
  static const bool reads = [] {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "asking for the GPU");
    check(cudaDeviceGetAttribute(&value, cudaDevAttrPageableMemoryAccess, device),
          "asking for the GPU's properties");
    return value != 0;
  }();
  return reads;
}

/// Small values on their way to the device. They wait in pinned memory, from which no copy makes
/// the host wait; a ring in two halves, of which one is left alone until its copies are done.
class Outbox {
 public:
  static constexpr size_t kSlotBytes = 64;

  Outbox() {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, kSlots * kSlotBytes), "allocating pinned memory");
    slots_ = static_cast<std::byte*>(memory);
    for (cudaEvent_t& event : left_)
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating a CUDA event");
  }

  void send(void* device, const void* host, size_t bytes) {
    if (next_ % kHalf == 0) enter(next_ / kHalf);
    std::byte* const slot = slots_ + next_ * kSlotBytes;
    std::memcpy(slot, host, bytes);
    check(cudaMemcpyAsync(device, slot, bytes, cudaMemcpyHostToDevice, backend_stream()),
          "copying to the GPU");
    next_ = (next_ + 1) % kSlots;
  }

 private:
  // A step sends three or so, and the host is at most 64 steps ahead.
  static constexpr size_t kHalf = 256;
  static constexpr size_t kSlots = 2 * kHalf;

  void enter(size_t half) {
    check(cudaEventRecord(left_[1 - half], backend_stream()), "recording a CUDA event");
    check(cudaEventSynchronize(left_[half]), "waiting for the GPU");
  }

  std::byte* slots_ = nullptr;
  size_t next_ = 0;
  cudaEvent_t left_[2] = {};
};

void copy_in(void* device, const void* host, size_t bytes) {
  static Outbox& outbox = *new Outbox;  // never destroyed: CUDA may be gone first
  if (bytes <= Outbox::kSlotBytes) return outbox.send(device, host, bytes);
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, backend_stream()),
        "copying to the GPU");
  // Elsewhere pageable memory has been read when the call returns.
  if (reads_pageable_memory_in_place()) synchronize();
}

void copy_out(void* host, const void* device, size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend_stream()),
        "copying from the GPU");
  check(cudaStreamSynchronize(backend_stream()), "waiting for the GPU");
}

/// A copy under way. Only into pinned memory does it not wait.
struct Readback {
  void* pinned = nullptr;
  cudaEvent_t arrived = nullptr;
};

std::vector<Readback*>& idle_readbacks() {
  static auto& idle = *new std::vector<Readback*>;  // never destroyed, as the outbox
  return idle;
}

Readback* take_readback() {
  auto& idle = idle_readbacks();
  if (!idle.empty()) {
    Readback* const readback = idle.back();
    idle.pop_back();
    return readback;
  }
  auto* const readback = new Readback;
  check(cudaMallocHost(&readback->pinned, kReadbackBytes), "allocating pinned memory");
  check(cudaEventCreateWithFlags(&readback->arrived, cudaEventDisableTiming),
        "creating a CUDA event");
  return readback;
}

void* begin_readback(const void* device, size_t bytes) {
  Readback* const readback = take_readback();
  check(cudaMemcpyAsync(readback->pinned, device, bytes, cudaMemcpyDeviceToHost, backend_stream()),
        "copying from the GPU");
  check(cudaEventRecord(readback->arrived, backend_stream()), "recording a CUDA event");
  return readback;
}

void end_readback(void* readback, void* host, size_t bytes) {
  auto* const ended = static_cast<Readback*>(readback);
  const cudaError_t status = cudaEventSynchronize(ended->arrived);
  if (bytes > 0) std::memcpy(host, ended->pinned, bytes);
  idle_readbacks().push_back(ended);
  if (bytes > 0) check(status, "waiting for the GPU");
}

}  // namespace

const DeviceMemory& device_memory() {
  static constexpr DeviceMemory kMemory = {allocate, release,     zero,           copy_in,
                                           copy_out, synchronize, begin_readback, end_readback};
  return kMemory;
}

}  // namespace sculpt::kernels::cuda
