#pragma once
// CUDA_ON_HOST_ASAN and CUDA_ON_HOST_TSAN: whether kernels are compiled with AddressSanitizer or
// ThreadSanitizer. The layer's own files are compiled without the latter; their build defines
// CUDA_ON_HOST_TSAN.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_ON_HOST_ASAN
#endif
#if __has_feature(thread_sanitizer) && !defined(CUDA_ON_HOST_TSAN)
#define CUDA_ON_HOST_TSAN
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) && !defined(CUDA_ON_HOST_ASAN)
#define CUDA_ON_HOST_ASAN
#endif
#if defined(__SANITIZE_THREAD__) && !defined(CUDA_ON_HOST_TSAN)
#define CUDA_ON_HOST_TSAN
#endif
