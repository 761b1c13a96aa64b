#pragma once
// Element types of activations and of the weights that convolutions read: float and bf16. Kernels
// compute in float and convert at loads and stores.

#include <cstdint>
#include <cstring>
#include <cuda_runtime.h>

namespace sculpt::kernels::cuda {

/// bfloat16: the upper half of a float.
struct bf16 {
  uint16_t bits;
};

__host__ __device__ inline float to_float(float value) {
  return value;
}
__host__ __device__ inline float to_float(bf16 value) {
  const uint32_t word = static_cast<uint32_t>(value.bits) << 16;
  float result;
  memcpy(&result, &word, sizeof(result));
  return result;
}

template <class T>
__host__ __device__ T from_float(float value);
template <>
__host__ __device__ inline float from_float<float>(float value) {
  return value;
}
/// Rounds to the nearest value, ties to even. NaN stays NaN.
template <>
__host__ __device__ inline bf16 from_float<bf16>(float value) {
#if defined(__CUDA_ARCH__)
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  uint32_t word;
  memcpy(&word, &value, sizeof(word));
  if ((word & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(0x7fff)};
  word += 0x7fffu + ((word >> 16) & 1u);
  return {static_cast<uint16_t>(word >> 16)};
#endif
}

/// N elements that are loaded and stored as one word; N * sizeof(T) is 4, 8 or 16.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

/// The number of elements of a 16-byte word.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <int N, class T>
__device__ inline Pack<T, N> load_pack(const T* p) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::count_read(p, sizeof(Pack<T, N>));
#endif
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
__device__ inline void store_pack(T* p, const Pack<T, N>& pack) {
#if defined(SCULPT_CUDA_ON_HOST)
  cuda_on_host::count_write(p, sizeof(Pack<T, N>));
#endif
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

}  // namespace sculpt::kernels::cuda
