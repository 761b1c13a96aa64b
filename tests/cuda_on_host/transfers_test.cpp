// Asynchronous copies between host and device, and several devices.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <stdexcept>
#include <thread>

#include "sample_runs.h"

namespace {

using namespace samples;

/// Four numbers in pinned memory, four on the device, a stream and an event.
struct Ends {
  Ends() {
    cudaMallocHost(&pinned, kBytes);
    cudaMalloc(&device, kBytes);
    cudaStreamCreate(&stream);
    cudaEventCreate(&event);
    set(1);
  }
  ~Ends() {
    cudaEventDestroy(event);
    cudaStreamDestroy(stream);
    cudaFree(device);
    cudaFreeHost(pinned);
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  void set(float value) { std::fill(pinned, pinned + 4, value); }
  cudaError_t send() {
    return cudaMemcpyAsync(device, pinned, kBytes, cudaMemcpyHostToDevice, stream);
  }
  cudaError_t fetch(float* to) {
    return cudaMemcpyAsync(to, device, kBytes, cudaMemcpyDeviceToHost, stream);
  }

  static constexpr size_t kBytes = 4 * sizeof(float);
  float* pinned = nullptr;
  float* device = nullptr;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
};

TEST_CASE(
    "transfers: an asynchronous copy to the device from memory that is not pinned is refused") {
  Ends ends;
  const float on_stack[4] = {};
  const std::vector<float> on_heap(4);
  for (const float* from : {&on_stack[0], on_heap.data()})
    CHECK_THROWS_WITH_AS(
        cudaMemcpyAsync(ends.device, from, Ends::kBytes, cudaMemcpyHostToDevice, ends.stream),
        "an asynchronous copy to the device from memory that is not pinned, which a device may "
        "read after the call",
        std::invalid_argument);
  // Beyond the end of a pinned block is not pinned either.
  CHECK_THROWS_AS(cudaMemcpyAsync(ends.device, ends.pinned + 1, Ends::kBytes,
                                  cudaMemcpyHostToDevice, ends.stream),
                  std::invalid_argument);
  CHECK(cudaMemcpyAsync(ends.device, on_heap.data(), 0, cudaMemcpyHostToDevice, ends.stream) ==
        cudaSuccess);
}

TEST_CASE(
    "transfers: the source of an asynchronous copy is left alone until the copy was waited for") {
  Ends ends;
  REQUIRE(ends.send() == cudaSuccess);
  ends.set(2);
  CHECK_THROWS_AS(cudaStreamSynchronize(ends.stream), std::invalid_argument);

  REQUIRE(ends.send() == cudaSuccess);
  CHECK_THROWS_AS(cudaFreeHost(ends.pinned), std::invalid_argument);
  REQUIRE(cudaEventRecord(ends.event, ends.stream) == cudaSuccess);
  CHECK(cudaEventSynchronize(ends.event) == cudaSuccess);
  ends.set(3);
  CHECK(cudaStreamSynchronize(ends.stream) == cudaSuccess);

  // An event that was recorded before the copy does not wait for it.
  REQUIRE(cudaEventRecord(ends.event, ends.stream) == cudaSuccess);
  REQUIRE(ends.send() == cudaSuccess);
  CHECK(cudaEventSynchronize(ends.event) == cudaSuccess);
  ends.set(4);
  CHECK_THROWS_AS(cudaStreamSynchronize(ends.stream), std::invalid_argument);
}

TEST_CASE(
    "transfers: what an asynchronous copy brings to the host is garbage until the copy is waited "
    "for") {
  Ends ends;
  REQUIRE(ends.send() == cudaSuccess);
  float arrived[4] = {};
  REQUIRE(ends.fetch(arrived) == cudaSuccess);
  CHECK(std::isnan(arrived[0]));
  // It brings what was there at the copy's turn.
  CHECK(cudaMemsetAsync(ends.device, 0, Ends::kBytes, ends.stream) == cudaSuccess);
  REQUIRE(cudaEventRecord(ends.event, ends.stream) == cudaSuccess);
  CHECK(cudaEventSynchronize(ends.event) == cudaSuccess);
  CHECK(arrived[0] == 1);
  CHECK(arrived[3] == 1);
}

__global__ void write_one(float* to) {
  *to = 1;
}

TEST_CASE("transfers: each thread has its current device, and streams belong to one") {
  cuda_on_host::set_device_count(2);
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  {
    Ends ends;
    CHECK(cuda_on_host::device_of(ends.device) == 1);
    CHECK(cuda_on_host::device_of(ends.pinned) == -1);
    SCULPT_LAUNCH(write_one, 1, 1, 0, ends.stream, ends.device);
    CHECK(cudaGetLastError() == cudaSuccess);
    ends.send();
    std::thread([&] {
      int current = -1;
      cudaGetDevice(&current);
      CHECK(current == 0);
      CHECK_THROWS(SCULPT_LAUNCH(write_one, 1, 1, 0, ends.stream, ends.device));
      CHECK(cudaMemsetAsync(ends.device, 0, 4, ends.stream) == cudaErrorInvalidResourceHandle);
      CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
      cudaEvent_t event = nullptr;
      REQUIRE(cudaEventCreate(&event) == cudaSuccess);
      CHECK(cudaEventRecord(event, ends.stream) == cudaErrorInvalidResourceHandle);
      CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
      cudaEventDestroy(event);
      REQUIRE(cudaSetDevice(1) == cudaSuccess);
      SCULPT_LAUNCH(write_one, 1, 1, 0, ends.stream, ends.device);
      CHECK(cudaStreamSynchronize(ends.stream) == cudaSuccess);
    }).join();
    CHECK(cudaGetLastError() == cudaSuccess);
  }
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  cuda_on_host::set_device_count(1);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
}

TEST_CASE("transfers: a kernel's failure is reported by all that comes after it") {
  Ends ends;
  cuda_on_host::fail_as_if_by_kernel(cudaErrorIllegalAddress);
  void* memory = nullptr;
  CHECK(cudaStreamSynchronize(ends.stream) == cudaErrorIllegalAddress);
  CHECK(cudaMalloc(&memory, 8) == cudaErrorIllegalAddress);
  CHECK(ends.send() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  cuda_on_host::fail_as_if_by_kernel(cudaSuccess);
  CHECK(cudaGetLastError() == cudaSuccess);
}

}  // namespace
