// CUDA graphs on the host: what a capture keeps, what it refuses.

#include <doctest/doctest.h>
#include <stdexcept>

#include "sample_runs.h"

namespace {

using namespace samples;

__global__ void add_to_all(float* values, const float* addend, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += *addend;
}

struct Stream {
  Stream() { cudaStreamCreate(&stream); }
  ~Stream() { cudaStreamDestroy(stream); }
  cudaStream_t stream = nullptr;
};

void add(DeviceArray<float>& values, DeviceArray<float>& addend, int count, cudaStream_t stream) {
  SCULPT_LAUNCH(add_to_all, 2, 3, 0, stream, values.data(), addend.data(), count);
}

TEST_CASE("capture: a graph does at every launch what was captured, with the arguments of then") {
  const Stream s;
  DeviceArray<float> values(std::vector<float>(5, 1.0f)), addend(std::vector<float>(1, 2.0f));
  add(values, addend, 0, s.stream);  // loads the kernel
  REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  int count = 4;
  add(values, addend, count, s.stream);
  count = 0;  // the graph has its copy
  cudaMemcpyAsync(addend.data(), values.data() + 4, sizeof(float), cudaMemcpyDeviceToDevice,
                  s.stream);
  cudaMemsetAsync(values.data(), 0, sizeof(float), s.stream);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.stream, &graph) == cudaSuccess);
  CHECK(values.read() == std::vector<float>(5, 1.0f));

  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaGraphLaunch(executable, s.stream) == cudaSuccess);
  CHECK(values.read() == std::vector<float>{0, 3, 3, 3, 1});
  CHECK(addend.read() == std::vector<float>{1});
  CHECK(cudaGraphLaunch(executable, s.stream) == cudaSuccess);
  CHECK(values.read() == std::vector<float>{0, 4, 4, 4, 1});
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
}

__global__ void never_run_before() {}

TEST_CASE(
    "capture: a capture does not survive a wait, an allocation, a copy, a new kernel or a stream") {
  const Stream s;
  DeviceArray<float> values(std::vector<float>(1));
  void* memory = nullptr;
  float* host = nullptr;
  REQUIRE(cudaMallocHost(&host, sizeof(float)) == cudaSuccess);
  const std::function<cudaError_t()> spoilers[] = {
      [&] { return cudaStreamSynchronize(s.stream); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaMalloc(&memory, 8); },
      [&] { return cudaMemcpy(host, values.data(), sizeof(float), cudaMemcpyDeviceToHost); },
      [&] {
        return cudaMemcpyAsync(values.data(), host, sizeof(float), cudaMemcpyHostToDevice,
                               s.stream);
      },
  };
  for (const auto& spoil : spoilers) {
    REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(spoil() == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaGetLastError() == cudaErrorStreamCaptureUnsupported);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    CHECK(cudaGetLastError() == cudaErrorStreamCaptureInvalidated);
    CHECK(spoil() == cudaSuccess);
  }
  cudaFree(memory);
  cudaStreamSynchronize(s.stream);
  cudaFreeHost(host);

  REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK_THROWS_WITH_AS(SCULPT_LAUNCH(never_run_before, 1, 1, 0, s.stream),
                       "never_run_before: captured before it was launched once",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(SCULPT_LAUNCH(add_to_all, 1, 1, 0, nullptr, values.data(), values.data(), 1),
                       "add_to_all: not on a stream that is being captured", std::invalid_argument);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.stream, &graph) == cudaSuccess);
  cudaGraphDestroy(graph);
}

}  // namespace
