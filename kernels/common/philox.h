#pragma once
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
// a counter-based generator. A draw is a pure function of (key, counter), so it depends neither on
// history nor on how work is spread over threads, devices or ranks.

#include <array>
#include <cstdint>

// Device code calls these functions too.
#if defined(__CUDACC__)
#define SCULPT_HOST_DEVICE __host__ __device__
#else
#define SCULPT_HOST_DEVICE
#endif

namespace sculpt {

/// The result of philox4x32, in a form that device code can read.
struct PhiloxWords {
  uint32_t at[4];
};

/// Four independent 32-bit words for a 128-bit counter under a 64-bit key.
SCULPT_HOST_DEVICE constexpr PhiloxWords philox4x32_words(uint64_t key, uint64_t counter_low,
                                                          uint64_t counter_high) {
  uint32_t c[4] = {static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                   static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0;
    c[1] = static_cast<uint32_t>(p1);
    c[2] = static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1;
    c[3] = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

/// The same as an array.
constexpr std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low,
                                             uint64_t counter_high) {
  const PhiloxWords words = philox4x32_words(key, counter_low, counter_high);
  return {words.at[0], words.at[1], words.at[2], words.at[3]};
}

/// Uniform in [0, 1) with 24 random bits: exactly representable in float.
SCULPT_HOST_DEVICE constexpr float philox_uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

/// Uniform in [0, 1) with 53 random bits, taken from the first two words: exactly representable in
/// double.
SCULPT_HOST_DEVICE constexpr double philox_uniform53(const PhiloxWords& words) {
  const uint64_t bits = (uint64_t{words.at[1]} << 32 | words.at[0]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace sculpt
