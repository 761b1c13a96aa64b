#include "cuda_on_host/capture.h"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda_on_host/grid.h"
#include "cuda_on_host/runtime.h"

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};

namespace {

struct Capture {
  cudaStream_t stream = nullptr;
  CUgraph_st* graph = nullptr;  // null: nothing is being captured
  bool spoiled = false;
};
Capture current;

}  // namespace

namespace cuda_on_host {

bool is_captured(const char* what, void* stream) {
  if (current.graph == nullptr) return false;
  if (stream != current.stream)
    throw std::invalid_argument(std::string(what) + ": not on the stream that is being captured");
  return true;
}

void capture(std::function<void()> work) {
  current.graph->work.push_back(std::move(work));
}

void capture_launch(const char* kernel, std::function<void()> run) {
  if (!has_run(kernel))
    throw std::invalid_argument(std::string(kernel) + ": captured before it has run once");
  capture(std::move(run));
}

bool spoils_capture() {
  if (current.graph == nullptr) return false;
  current.spoiled = true;
  return true;
}

}  // namespace cuda_on_host

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || current.graph != nullptr) return cudaErrorStreamCaptureUnsupported;
  current = {stream, new CUgraph_st, false};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (current.graph == nullptr || stream != current.stream) return cudaErrorInvalidValue;
  const Capture ended = std::exchange(current, {});
  if (ended.spoiled) {
    delete ended.graph;
    return cudaErrorStreamCaptureInvalidated;
  }
  *graph = ended.graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (cuda_on_host::spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  if (cuda_on_host::refuses_launch(stream)) return cudaErrorInvalidResourceHandle;
  for (const auto& work : executable->work)
    work();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
