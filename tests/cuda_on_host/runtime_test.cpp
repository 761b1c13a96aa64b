#include <cmath>
#include <doctest/doctest.h>
#include <stdexcept>

#include "kernels/cuda/element.h"
#include "orders.h"
#include "sample_runs.h"

namespace {

using namespace samples;

__global__ void read_dynamic_shared(float* out) {
  SCULPT_DYNAMIC_SHARED(float, shared);
  out[blockIdx.x] = shared[0];
  shared[0] = 1.0f;
}

TEST_CASE("runtime: fresh memory holds NaNs, dynamic shared memory in every block") {
  const std::vector<float> fresh = DeviceArray<float>(9).read();
  for (const float value : fresh)
    CHECK(std::isnan(value));
  const std::vector<bf16> halves = DeviceArray<bf16>(9).read();
  for (const bf16 value : halves)
    CHECK(std::isnan(to_float(value)));
  DeviceArray<float> out(3);
  SCULPT_LAUNCH(read_dynamic_shared, 3, 1, 4, nullptr, out.data());
  for (const float value : out.read())
    CHECK(std::isnan(value));
}

TEST_CASE("runtime: a launch that a device would refuse is refused") {
  const auto launch = [](dim3 grid, dim3 block, size_t shared_bytes) {
    cuda_on_host::run_grid("some_kernel", grid, block, shared_bytes, nullptr, [] {});
  };
  CHECK_THROWS_WITH_AS(launch(1, 1025, 0), "some_kernel: a block of 1025 x 1 x 1 threads",
                       std::invalid_argument);
  CHECK_THROWS_AS(launch(1, dim3(0, 1, 1), 0), std::invalid_argument);
  CHECK_THROWS_AS(launch(dim3(1, 65536, 1), 1, 0), std::invalid_argument);
  CHECK_THROWS_AS(launch(1, 1, 100 << 10), std::invalid_argument);
  launch(1, 1024, 99 << 10);
}

TEST_CASE("runtime: device memory runs out and is given back") {
  size_t free_before = 0, free_after = 0, total = 0;
  cudaMemGetInfo(&free_before, &total);
  const size_t live = cuda_on_host::live_allocations();
  float* memory = nullptr;
  CHECK(cudaMalloc(&memory, total + 1) == cudaErrorMemoryAllocation);
  CHECK(memory == nullptr);
  CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaSuccess);
  REQUIRE(cudaMalloc(&memory, 1000) == cudaSuccess);
  CHECK(cuda_on_host::live_allocations() == live + 1);
  cudaMemGetInfo(&free_after, &total);
  CHECK(free_after == free_before - 1000);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaFree(nullptr) == cudaSuccess);
  CHECK(cuda_on_host::live_allocations() == live);
}

TEST_CASE("runtime: copies, streams and events do what the calls promise") {
  int* device = nullptr;
  int* pinned = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t start = nullptr, end = nullptr;
  REQUIRE(cudaMalloc(&device, 4 * sizeof(int)) == cudaSuccess);
  REQUIRE(cudaMallocHost(&pinned, 4 * sizeof(int)) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaEventCreate(&start) == cudaSuccess);
  REQUIRE(cudaEventCreate(&end) == cudaSuccess);
  CHECK(cudaEventRecord(start, stream) == cudaSuccess);
  for (int i = 0; i < 4; ++i)
    pinned[i] = i;
  CHECK(cudaMemcpyAsync(device, pinned, 16, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  CHECK(cudaMemsetAsync(device, 0, 8, stream) == cudaSuccess);
  CHECK(cudaMemcpyAsync(pinned, device, 16, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(cudaEventRecord(end, stream) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(stream, end) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(pinned[1] == 0);
  CHECK(pinned[3] == 3);
  float milliseconds = -1.0f;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  CHECK(milliseconds >= 0.0f);
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  cudaStreamDestroy(stream);
  cudaFreeHost(pinned);
  cudaFree(device);
}

TEST_CASE("runtime: the device has the properties that kernels read") {
  int count = 0, device = -1, processors = 0;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 1);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  CHECK(cudaGetDevice(&device) == cudaSuccess);
  CHECK(device == 0);
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess);
  CHECK(processors == properties.multiProcessorCount);
  CHECK(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)) == "cudaErrorMemoryAllocation");
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
}

TEST_CASE("runtime: vector types have the alignment of CUDA") {
  CHECK(alignof(float2) == 8);
  CHECK(alignof(float3) == 4);
  CHECK(alignof(float4) == 16);
  CHECK(alignof(uchar4) == 4);
  CHECK(alignof(ushort4) == 8);
  CHECK(alignof(double2) == 16);
  CHECK(alignof(ulonglong2) == 16);
  CHECK(sizeof(int3) == 12);
  const uint4 v = make_uint4(1, 2, 3, 4);
  CHECK(v.w == 4);
}

TEST_CASE("runtime: functions on bits give what a device gives") {
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__popcll(~0ull) == 64);
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__clzll(1) == 63);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__float_as_uint(1.0f) == 0x3f800000u);
  CHECK(__uint_as_float(0x40000000u) == 2.0f);
  CHECK(rsqrtf(4.0f) == 0.5f);
  CHECK(min(3u, 4u) == 3u);
  CHECK(max(-1, 1) == 1);
  CHECK(max(NAN, 1.0f) == 1.0f);
}

}  // namespace
