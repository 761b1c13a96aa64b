#pragma once
// Converts CUDA's status codes to errors.

#include <cstddef>
#include <cuda_runtime.h>
#include <string>

namespace sculpt::kernels::cuda {

/// Throws Error if `status` is not success. The message is "what: CUDA's text". If a kernel that
/// was launched earlier may be the cause, the message says so.
void check(cudaError_t status, const char* what);

/// Throws Error. (.cu files do not include fmt, which nvcc cannot compile in every version.)
[[noreturn]] void raise(const std::string& message);

namespace detail {
/// Checks a launch. Throws Error if the launch was refused or an earlier kernel failed. Waits for
/// the kernel if SCULPT_CUDA_SYNC requests that.
void check_launch(const char* kernel, cudaStream_t stream);
/// Allows a kernel more dynamic shared memory than the default 48 KiB.
void allow_shared_memory(const void* kernel, const char* name, size_t bytes);
/// Returns true if the blocks of a kernel may start before the kernel before it has ended. The
/// kernel's code must wait for that kernel, as code for compute capability 9.0 and newer does, and
/// SCULPT_CUDA_OVERLAP must not be 0.
bool may_start_early(const void* kernel, const char* name);
}  // namespace detail

}  // namespace sculpt::kernels::cuda
