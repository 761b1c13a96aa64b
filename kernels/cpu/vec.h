#pragma once
// The vector type of the instruction set that this file is compiled for. kernels/cpu/*.cpp are
// compiled once per instruction set with SCULPT_ISA = portable, avx2 or avx512. All their
// definitions are in a namespace of that name, so that the linker never merges two builds of an
// inline function.

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef SCULPT_ISA
#error "compile with -DSCULPT_ISA=portable|avx2|avx512"
#endif

// NOLINTNEXTLINE(bugprone-macro-parentheses): a namespace name
#define SCULPT_ISA_NAMESPACE sculpt::kernels::SCULPT_ISA

namespace SCULPT_ISA_NAMESPACE {

/// The number of images that are innermost in every activation, whatever the register width
/// (kernels/common/layout.h).
inline constexpr int64_t kLanes = 16;

/// Floats in one register.
#if defined(__AVX512F__)
inline constexpr int kVecWidth = 16;
#elif defined(__AVX2__)
inline constexpr int kVecWidth = 8;
#else
inline constexpr int kVecWidth = 4;
#endif

/// A register of floats. A cell of 16 images consists of kLanes / kVecWidth registers.
using Vec = float __attribute__((vector_size(4 * kVecWidth)));
using VecInt = int32_t __attribute__((vector_size(4 * kVecWidth)));

inline constexpr int kVecsPerCell = kLanes / kVecWidth;

/// The arrays of kernel arguments are void pointers; all arrays of the CPU's kernels are floats.
inline const float* floats(const void* p) {
  return static_cast<const float*>(p);
}
inline float* floats(void* p) {
  return static_cast<float*>(p);
}

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}

/// Stores a vector bypassing the cache, for values that are not read again soon. p must be aligned
/// to a register. Other threads see the value after stream_end().
inline void stream(float* p, Vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#else
  store(p, v);
#endif
}

inline void stream_end() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}

/// Requests the cache line at p, which will be read (or written) soon, into the second-level cache.
/// p may be any address.
inline void prefetch(const float* p) {
  __builtin_prefetch(p, 0, 2);
}
inline void prefetch_to_write(const float* p) {
  __builtin_prefetch(p, 1, 2);
}

/// Makes the compiler keep a value in a register. Without this, GCC loads a value that several
/// multiply-adds read once for each of them.
[[gnu::always_inline]] inline void keep_in_register(Vec& value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value));
#elif defined(__SSE__)
  asm("" : "+x"(value));
#endif
}

inline Vec broadcast(float value) {
  return value - Vec{};
}

}  // namespace SCULPT_ISA_NAMESPACE
