#pragma once
// NVTX ranges and the profiler API.

#include "kernels/device/tracing.h"

namespace sculpt::kernels::cuda {

TraceHooks trace_hooks();

}  // namespace sculpt::kernels::cuda
