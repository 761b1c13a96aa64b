#include "kernels/common/philox.h"

#include <doctest/doctest.h>

namespace {

using sculpt::philox4x32;
using Words = std::array<uint32_t, 4>;

TEST_CASE("philox: philox4x32-10 gives the published test vectors") {
  // Random123, kat_vectors.
  CHECK(philox4x32(0, 0, 0) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox4x32(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}) ==
        Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox4x32(0x299f31d0a4093822u, 0x85a308d3243f6a88u, 0x0370734413198a2eu) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("philox: philox_uniform covers [0, 1) evenly") {
  CHECK(sculpt::philox_uniform(0) == 0.0f);
  CHECK(sculpt::philox_uniform(0xFFFFFFFFu) < 1.0f);
  int counts[10] = {};
  constexpr int kDraws = 100000;
  for (uint64_t i = 0; i < kDraws; ++i)
    ++counts[static_cast<int>(10 * sculpt::philox_uniform(philox4x32(7, i, 3)[0]))];
  for (const int count : counts) {
    CHECK(count > kDraws / 10 - 500);  // 5 standard deviations
    CHECK(count < kDraws / 10 + 500);
  }
}

}  // namespace
