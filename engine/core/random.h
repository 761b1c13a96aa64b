#pragma once
// Random numbers are values of pure functions. Every draw depends only on (seed, purpose, epoch,
// index), and neither on earlier draws nor on the number of threads. Resuming a run therefore needs
// no generator state.

#include <cstdint>

#include "kernels/common/philox.h"

namespace sculpt {

/// The purpose of a draw. Each purpose is an independent stream. Old runs are reproducible only
/// while the values stay the same, so only append new values.
enum class Purpose : uint32_t {
  initialisation = 1,
  shuffle = 2,
  augmentation = 3,
  random_score = 4,
  dropout = 5,
  synthetic_data = 6,
  split = 7,
  subset = 8,
  score_batch = 9,
  mask_growth = 10,
  label_noise = 11,
  reinitialise = 12,
  shuffle_mask = 13,
  hessian_start = 14,
  hessian_probe = 15,
  surface_direction = 16,
  test = 100,
};

/// The stream of draws for one purpose and one `sub`, which is an epoch or a parameter number.
class RandomStream {
 public:
  RandomStream(uint64_t seed, Purpose purpose, uint64_t sub = 0)
      : key_(derive(seed, purpose)), sub_(sub) {}

  /// Returns four 32-bit words for draw `index`.
  std::array<uint32_t, 4> words(uint64_t index) const { return philox4x32(key_, index, sub_); }
  uint32_t word(uint64_t index) const { return words(index)[0]; }
  /// Returns a uniform number in [0, 1) with 24 bits.
  float uniform(uint64_t index) const { return philox_uniform(word(index)); }
  /// Returns a uniform integer in [0, n), n < 2^32; the bias of the multiply-shift is below n/2^64.
  uint64_t below(uint64_t index, uint64_t n) const;
  /// Returns a number of the standard normal distribution (Box-Muller).
  float normal(uint64_t index) const;

  uint64_t key() const { return key_; }

 private:
  static uint64_t derive(uint64_t seed, Purpose purpose) {
    const auto w = philox4x32(seed, static_cast<uint64_t>(purpose), 0x5343554C5054ull);
    return (uint64_t{w[1]} << 32) | w[0];
  }
  uint64_t key_;
  uint64_t sub_;
};

}  // namespace sculpt
