#pragma once
// Kernels of a stream overlap: the blocks of a kernel may start while the last blocks of the kernel
// before it still run ("programmatic dependent launch", from compute capability 9.0 on). Until
// follow_previous_kernels() has returned, a kernel must not touch memory that another kernel writes
// or reads.

#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {

/// Waits until all kernels before this one in the stream have ended and their writes can be read,
/// and lets the kernel after this one start. It is the first statement of every kernel, which
/// tests/cuda/runtime_calls_test.py checks: each kernel waits for the one before it, so all earlier
/// ones have ended, too. On the host and on older devices, kernels do not overlap.
__device__ __forceinline__ void follow_previous_kernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace sculpt::kernels::cuda
