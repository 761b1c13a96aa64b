#pragma once
// All CUDA kernels are launched through launch(), from any thread. Empty grids return early. A
// launch that the driver refuses throws Error naming the kernel. Launches do not wait for the
// kernel, so if a kernel fails, a later launch may throw the Error. With SCULPT_CUDA_SYNC=1 in the
// environment, every launch waits, so that an asynchronous fault is reported at the kernel that
// caused it. Every kernel begins with follow_previous_kernels() (follow.h).
//
// The same source compiles with g++ for tests/cuda_on_host, where run_grid() executes the kernel's
// threads as fibers on the CPU.

#include <cstddef>
#include <cuda_runtime.h>

#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/follow.h"
#include "kernels/cuda/device/status.h"

namespace sculpt::kernels::cuda {

/// The number of threads of a warp.
inline constexpr int kWarp = 32;

/// Launches kernel(arguments...) on `stream` (a cudaStream_t, type-erased as in kernels::Launch).
/// Use through SCULPT_LAUNCH, which supplies the name.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, void* stream, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const DeviceGuard guard;
#if defined(SCULPT_CUDA_ON_HOST)
  // Arguments are copied, because a graph that is being captured keeps them.
  cuda_on_host::run_grid(
      name, grid, block, shared_bytes, stream,
      [kernel, ... copies = static_cast<Parameters>(arguments)] { kernel(copies...); },
      reinterpret_cast<const void*>(kernel));
#else
  constexpr size_t kDefaultSharedBytes = 48 << 10;
  const auto* address = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kDefaultSharedBytes) detail::allow_shared_memory(address, name, shared_bytes);
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &early;
  config.numAttrs = detail::may_start_early(address, name) ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
#endif
  detail::check_launch(name, static_cast<cudaStream_t>(stream));
}

}  // namespace sculpt::kernels::cuda

/// SCULPT_LAUNCH(kernel or (kernel<A, B>), grid, block, shared bytes, stream, arguments...)
#define SCULPT_LAUNCH(kernel, ...) ::sculpt::kernels::cuda::launch(#kernel, kernel, __VA_ARGS__)

/// Declares the dynamic shared memory of a kernel: `type* name`, 16-byte aligned.
#if defined(SCULPT_CUDA_ON_HOST)
#define SCULPT_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::cuda_on_host::dynamic_shared())
#else
#define SCULPT_DYNAMIC_SHARED(type, name)                        \
  extern __shared__ __align__(16) unsigned char sculpt_shared[]; \
  type* name = reinterpret_cast<type*>(sculpt_shared)
#endif
