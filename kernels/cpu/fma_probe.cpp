// Measures how fast this instruction set can multiply-add, which is the compute ceiling of
// benchmarks.

#include "kernels/cpu/tables.h"

namespace SCULPT_ISA_NAMESPACE {

double fma_probe(int64_t iterations) {
  // Twelve independent chains hide the latency of a fused multiply-add on every machine tested so
  // far.
  constexpr int kChains = 12;
  Vec sums[kChains];
  for (int c = 0; c < kChains; ++c)
    sums[c] = broadcast(static_cast<float>(c));
  const Vec scale = broadcast(0.5f), shift = broadcast(1.0f);
  for (int64_t i = 0; i < iterations; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c)
      sums[c] = sums[c] * scale + shift;
  Vec total = broadcast(0);
  for (int c = 0; c < kChains; ++c)
    total += sums[c];
  // The volatile variable keeps the loop, because the compiler would remove a result that is not
  // used.
  volatile float sink = total[0];
  (void)sink;
  return 2.0 * static_cast<double>(iterations) * kChains * kVecWidth;
}

}  // namespace SCULPT_ISA_NAMESPACE
