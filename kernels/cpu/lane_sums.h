#pragma once
// Sums over the lanes of registers.

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// One step of adding up the lanes of two registers at once. In the result, lanes whose bit
/// `Distance` is clear hold sums of a, and the other lanes hold sums of b.
template <int Distance>
[[gnu::always_inline]] inline Vec fold(Vec a, Vec b) {
  VecInt low, high;
  for (int i = 0; i < kVecWidth; ++i) {
    const bool from_b = (i & Distance) != 0;
    low[i] = from_b ? kVecWidth + (i ^ Distance) : i;
    high[i] = from_b ? kVecWidth + i : (i ^ Distance);
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

/// Lane i of the result is the sum of all lanes of v[i]. The contents of v are destroyed.
template <int Distance = kVecWidth / 2>
[[gnu::always_inline]] inline Vec add_up_lanes(Vec* v) {
  for (int i = 0; i < Distance; ++i)
    v[i] = fold<Distance>(v[i], v[i + Distance]);
  if constexpr (Distance > 1)
    return add_up_lanes<Distance / 2>(v);
  else
    return v[0];
}

}  // namespace SCULPT_ISA_NAMESPACE
