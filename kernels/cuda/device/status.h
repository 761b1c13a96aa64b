#pragma once
// Turning CUDA's status codes into errors.

#include <cstddef>
#include <cuda_runtime.h>
#include <string>

namespace sculpt::kernels::cuda {

/// Throws Error if `status` is not success: "what: CUDA's text", and where a kernel may be at fault
/// that was launched before, that it may.
void check(cudaError_t status, const char* what);

/// Throws Error. (.cu files do not include fmt, which nvcc cannot compile in every version.)
[[noreturn]] void raise(const std::string& message);

namespace detail {
/// After a launch: throws if it was refused, or a kernel before it failed; waits for it where
/// SCULPT_CUDA_SYNC asks for that.
void check_launch(const char* kernel, cudaStream_t stream);
/// Allows a kernel more dynamic shared memory than the default 48 KiB.
void allow_shared_memory(const void* kernel, const char* name, size_t bytes);
}  // namespace detail

}  // namespace sculpt::kernels::cuda
