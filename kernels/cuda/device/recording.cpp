#include "kernels/cuda/device/recording.h"

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/stream.h"
#include "kernels/cuda/device/wait.h"

namespace sculpt::kernels::cuda {
namespace {

/// Ends the capture of the backend's stream. Returns null if the capture failed.
cudaGraph_t end_capture() {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(backend_stream(), &graph) != cudaSuccess) {
    cudaGetLastError();  // clears the error: the caller reports it, so the next launch must not
    return nullptr;
  }
  return graph;
}

cudaGraph_t capture(const std::function<void()>& launches) {
  // Thread-local mode lets other threads (the loader's) continue to use CUDA.
  check(cudaStreamBeginCapture(backend_stream(), cudaStreamCaptureModeThreadLocal),
        "recording a CUDA graph");
  try {
    launches();
  } catch (...) {
    if (const cudaGraph_t graph = end_capture()) cudaGraphDestroy(graph);
    throw;
  }
  const cudaGraph_t graph = end_capture();
  if (graph == nullptr)
    raise(
        "recording a CUDA graph failed: the step waits for the device or allocates memory; "
        "set execution.step_graph=false to launch kernel by kernel, and report this");
  return graph;
}

void* record(const std::function<void()>& launches) {
  const DeviceGuard guard;
  const cudaGraph_t graph = capture(launches);
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "instantiating a CUDA graph");
  return executable;
}

void replay(void* recording) {
  const DeviceGuard guard;
  const LaunchMark mark;
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), backend_stream()),
        "launching a CUDA graph");
}

void discard(void* recording) {
  const DeviceGuard guard;
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

}  // namespace

RecordingHooks recording_hooks() {
  if (waits_for_launches()) return {};
  return {record, replay, discard};
}

}  // namespace sculpt::kernels::cuda
