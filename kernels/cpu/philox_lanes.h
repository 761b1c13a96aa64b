#pragma once
// Philox4x32-10 (kernels/common/philox.h) for kLanes counters at once, word 0 only, in a form that
// compilers vectorise.

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// uniform[l] := philox_uniform(philox4x32(key, counter + l * counter_step, counter_high)[0]).
inline void philox_uniform_lanes(float* uniform, uint64_t key, uint64_t counter,
                                 uint64_t counter_step, uint64_t counter_high) {
  constexpr uint64_t kLow = 0xFFFFFFFFu;
  // Words are stored in 64-bit lanes, so that the 32 x 32 -> 64 bit products need no shuffling.
  uint64_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) {
    const uint64_t value = counter + static_cast<uint64_t>(l) * counter_step;
    c0[l] = value & kLow;
    c1[l] = value >> 32;
    c2[l] = counter_high & kLow;
    c3[l] = counter_high >> 32;
  }
  uint64_t k0 = key & kLow;
  uint64_t k1 = key >> 32;
  for (int round = 0; round < 10; ++round) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const uint64_t p0 = 0xD2511F53u * c0[l];
      const uint64_t p1 = 0xCD9E8D57u * c2[l];
      c0[l] = (p1 >> 32) ^ c1[l] ^ k0;
      c1[l] = p1 & kLow;
      c2[l] = (p0 >> 32) ^ c3[l] ^ k1;
      c3[l] = p0 & kLow;
    }
    k0 = (k0 + 0x9E3779B9u) & kLow;
    k1 = (k1 + 0xBB67AE85u) & kLow;
  }
  for (int64_t l = 0; l < kLanes; ++l)
    uniform[l] = static_cast<float>(static_cast<int32_t>(c0[l] >> 8)) * 0x1p-24f;
}

}  // namespace SCULPT_ISA_NAMESPACE
