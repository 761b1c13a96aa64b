#include "kernels/cuda/device/tracing.h"

#include <cuda_profiler_api.h>
#include <nvtx3/nvToolsExt.h>

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/status.h"

namespace sculpt::kernels::cuda {
namespace {

void push(const char* name) {
  nvtxRangePushA(name);
}

void pop() {
  nvtxRangePop();
}

void start_recording() {
  const DeviceGuard guard;
  check(cudaProfilerStart(), "starting the profiler's recording");
}

void stop_recording() {
  const DeviceGuard guard;
  check(cudaProfilerStop(), "stopping the profiler's recording");
}

}  // namespace

TraceHooks trace_hooks() {
  return {push, pop, start_recording, stop_recording};
}

}  // namespace sculpt::kernels::cuda
