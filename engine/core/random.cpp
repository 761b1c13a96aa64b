#include "engine/core/random.h"

#include <cmath>
#include <numbers>

namespace sculpt {

uint64_t RandomStream::below(uint64_t index, uint64_t n) const {
  const auto w = words(index);
  const uint64_t bits = (uint64_t{w[1]} << 32) | w[0];
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64);
}

float RandomStream::normal(uint64_t index) const {
  const auto w = words(index);
  // u is in (0, 1], so that its logarithm is finite.
  const double u = (w[0] + 1.0) * 0x1p-32;
  const double v = w[1] * 0x1p-32;
  return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
}

}  // namespace sculpt
