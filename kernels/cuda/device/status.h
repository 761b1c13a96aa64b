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
}  // namespace detail

}  // namespace sculpt::kernels::cuda
