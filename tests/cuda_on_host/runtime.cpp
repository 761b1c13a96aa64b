#include "cuda_on_host/runtime.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cuda_on_host/capture.h"
#include "cuda_on_host/grid.h"
#include "cuda_on_host/survey.h"
#include "queues.h"

namespace {

constexpr size_t kAlignment = 256;

struct DeviceMemory {
  std::mutex mutex;
  size_t total = size_t{16} << 30;
  size_t used = 0;
  struct Block {
    size_t bytes;
    int device;
  };
  std::map<const void*, Block> blocks;
};
DeviceMemory device_memory;
std::atomic<int> device_count = 1;
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
std::atomic<cudaError_t> kernel_error = cudaSuccess;

bool is_device(int device) {
  return device >= 0 && device < device_count;
}

}  // namespace

namespace cuda_on_host {

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void fail_as_if_by_kernel(cudaError_t error) {
  kernel_error = error;
}
cudaError_t error_of_kernels() {
  return kernel_error;
}

void set_device_count(int count) {
  device_count = count;
}

int device_of(const void* block) {
  const std::lock_guard lock(device_memory.mutex);
  const auto found = device_memory.blocks.find(block);
  return found == device_memory.blocks.end() ? -1 : found->second.device;
}

bool is_device_memory(const void* memory, size_t bytes) {
  const std::lock_guard lock(device_memory.mutex);
  auto block = device_memory.blocks.upper_bound(memory);
  if (block == device_memory.blocks.begin()) return false;
  --block;
  return static_cast<const char*>(memory) + bytes <=
         static_cast<const char*>(block->first) + block->second.bytes;
}

}  // namespace cuda_on_host

using cuda_on_host::remember;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!is_device(device)) return remember(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!is_device(device)) return remember(cudaErrorInvalidDevice);
  *properties = {};
  snprintf(properties->name, sizeof(properties->name), "CUDA on host");
  properties->totalGlobalMem = device_memory.total;
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = 163 << 10;
  properties->sharedMemPerMultiprocessor = 164 << 10;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  const int threads[3] = {1024, 1024, 64};
  const int grid[3] = {0x7fffffff, 65535, 65535};
  memcpy(properties->maxThreadsDim, threads, sizeof(threads));
  memcpy(properties->maxGridSize, grid, sizeof(grid));
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = 4;  // few, so that grids sized by it stay small
  properties->l2CacheSize = 40 << 20;
  properties->memoryBusWidth = 5120;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) return cudaErrorInvalidDevice;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = properties.warpSize;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return remember(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  if (!is_device(device) || bytes < 13) return remember(cudaErrorInvalidValue);
  snprintf(text, static_cast<size_t>(bytes), "0000:%02x:00.0", static_cast<unsigned char>(device));
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  return kernel_error != cudaSuccess ? kernel_error.load() : last_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorMisalignedAddress:
      return "cudaErrorMisalignedAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnjoined:
      return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorMisalignedAddress:
      return "misaligned address";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnjoined:
      return "capturing stream has unjoined work";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    case cudaErrorCapturedEvent:
      return "operation not permitted on an event last recorded in a capturing stream";
  }
  return "unrecognized error code";
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (kernel_error != cudaSuccess) return remember(kernel_error);
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(device_memory.mutex);
  if (bytes > device_memory.total - device_memory.used) return remember(cudaErrorMemoryAllocation);
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) return remember(cudaErrorMemoryAllocation);
  // Filling the memory of a large batch would touch all of its pages.
  if (!cuda_on_host::is_surveying()) cuda_on_host::fill_with_garbage(memory, bytes);
  device_memory.used += bytes;
  device_memory.blocks.emplace(memory, DeviceMemory::Block{bytes, current_device});
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (cuda_on_host::spoils_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (pointer == nullptr) return cudaSuccess;
  if (const int device = cuda_on_host::device_of(pointer); device >= 0)
    cuda_on_host::wait_for_device(device);
  const std::lock_guard lock(device_memory.mutex);
  const auto block = device_memory.blocks.find(pointer);
  if (block == device_memory.blocks.end()) return remember(cudaErrorInvalidValue);
  device_memory.used -= block->second.bytes;
  device_memory.blocks.erase(block);
  free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const std::lock_guard lock(device_memory.mutex);
  *free_bytes = device_memory.total - device_memory.used;
  *total_bytes = device_memory.total;
  return cudaSuccess;
}

namespace cuda_on_host {
void set_device_memory(size_t bytes) {
  const std::lock_guard lock(device_memory.mutex);
  device_memory.total = bytes;
}
size_t live_allocations() {
  const std::lock_guard lock(device_memory.mutex);
  return device_memory.blocks.size();
}
}  // namespace cuda_on_host
