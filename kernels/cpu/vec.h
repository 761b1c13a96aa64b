#pragma once
// The vector type of the instruction set this file is compiled for. kernels/cpu/*.cpp are compiled
// once per instruction set with SCULPT_ISA = portable, avx2 or avx512; everything they define lives
// in a namespace of that name, so that no two builds of an inline function meet in the linker.

#include <cstdint>
#include <cstring>

#ifndef SCULPT_ISA
#error "compile with -DSCULPT_ISA=portable|avx2|avx512"
#endif

// NOLINTNEXTLINE(bugprone-macro-parentheses): a namespace name
#define SCULPT_ISA_NAMESPACE sculpt::kernels::SCULPT_ISA

namespace SCULPT_ISA_NAMESPACE {

/// Images innermost in every activation, whatever the register width (kernels/common/layout.h).
inline constexpr int64_t kLanes = 16;

/// Floats in one register.
#if defined(__AVX512F__)
inline constexpr int kVecWidth = 16;
#elif defined(__AVX2__)
inline constexpr int kVecWidth = 8;
#else
inline constexpr int kVecWidth = 4;
#endif

/// One register of floats. A cell of 16 images is kLanes / kVecWidth of them.
using Vec = float __attribute__((vector_size(4 * kVecWidth)));
using VecInt = int32_t __attribute__((vector_size(4 * kVecWidth)));

inline constexpr int kVecsPerCell = kLanes / kVecWidth;

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}
inline Vec broadcast(float value) {
  return value - Vec{};
}

}  // namespace SCULPT_ISA_NAMESPACE
