#include "data/transforms/augment.h"

#include <array>
#include <cstdlib>
#include <doctest/doctest.h>
#include <vector>

#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

/// Pads into a larger image, crops it, mirrors it, erases the square: each a separate naive step.
std::vector<uint8_t> reference(const std::vector<uint8_t>& in, const ImageShape& s,
                               const AugmentOptions& o, const Augmentation& a,
                               const std::vector<uint8_t>& fill) {
  const int64_t p = o.crop_padding, ph = s.height + 2 * p, pw = s.width + 2 * p;
  std::vector<uint8_t> padded(static_cast<size_t>(s.channels * ph * pw), 0);
  if (o.crop_fill == kernels::CropFill::mean)
    for (int64_t i = 0; i < s.channels * ph * pw; ++i)
      padded[static_cast<size_t>(i)] = fill[static_cast<size_t>(i / (ph * pw))];
  if (o.crop_fill == kernels::CropFill::reflect)
    for (int64_t c = 0; c < s.channels; ++c)
      for (int64_t y = -p; y < s.height + p; ++y)
        for (int64_t x = -p; x < s.width + p; ++x) {
          // The distance to the last pixel, counted from that end, falls on the way back.
          const int64_t from_y = s.height - 1 - std::abs(s.height - 1 - std::abs(y));
          const int64_t from_x = s.width - 1 - std::abs(s.width - 1 - std::abs(x));
          padded[static_cast<size_t>((c * ph + y + p) * pw + x + p)] =
              in[static_cast<size_t>((c * s.height + from_y) * s.width + from_x)];
        }
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t y = 0; y < s.height; ++y)
      for (int64_t x = 0; x < s.width; ++x)
        padded[static_cast<size_t>((c * ph + y + p) * pw + x + p)] =
            in[static_cast<size_t>((c * s.height + y) * s.width + x)];
  std::vector<uint8_t> out(in.size());
  for (int64_t c = 0; c < s.channels; ++c)
    for (int64_t y = 0; y < s.height; ++y)
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t source_x = a.mirror ? s.width - 1 - x : x;
        uint8_t value =
            padded[static_cast<size_t>((c * ph + y + p + a.dy) * pw + source_x + p + a.dx)];
        const int64_t top = a.cut_y - o.cutout / 2, left = a.cut_x - o.cutout / 2;
        if (y >= top && y < top + o.cutout && x >= left && x < left + o.cutout)
          value = fill[static_cast<size_t>(c)];
        out[static_cast<size_t>((c * s.height + y) * s.width + x)] = value;
      }
  return out;
}

TEST_CASE("augment: augment equals pad, crop, mirror and erase done one by one") {
  const uint64_t seed = 11;
  for (const ImageShape shape :
       {ImageShape{3, 32, 32}, ImageShape{1, 7, 5}, ImageShape{2, 3, 9}, ImageShape{1, 3, 47}}) {
    const auto image = test::random_bytes(static_cast<size_t>(shape.count()), seed);
    const std::vector<uint8_t> fill = {10, 20, 30};
    for (const AugmentOptions options :
         {AugmentOptions{4, true, 0}, AugmentOptions{0, true, 0}, AugmentOptions{4, false, 0},
          AugmentOptions{2, true, 5}, AugmentOptions{0, false, 8}, AugmentOptions{12, true, 40},
          AugmentOptions{4, true, 0, kernels::CropFill::mean},
          AugmentOptions{12, false, 5, kernels::CropFill::mean},
          AugmentOptions{2, true, 0, kernels::CropFill::reflect},
          AugmentOptions{1, false, 3, kernels::CropFill::reflect}}) {
      for (int64_t index = 0; index < 50; ++index) {
        const auto draw = draw_augmentation(options, shape, seed, 3, index);
        std::vector<uint8_t> out(image.size(), 99);
        augment(out.data(), image.data(), shape, options, draw, fill.data());
        REQUIRE(out == reference(image, shape, options, draw, fill));
      }
    }
  }
}

TEST_CASE("augment: draws are uniform, in range and independent of each other") {
  const ImageShape shape{3, 32, 32};
  const AugmentOptions options{4, true, 8};
  constexpr int64_t kDraws = 20000;
  std::array<int64_t, 81> shifts{};
  std::array<int64_t, 32> cut_y{}, cut_x{};
  int64_t mirrored = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    const auto draw = draw_augmentation(options, shape, 5, 7, i);
    REQUIRE(std::abs(draw.dy) <= 4);
    REQUIRE(std::abs(draw.dx) <= 4);
    ++shifts[static_cast<size_t>((draw.dy + 4) * 9 + draw.dx + 4)];
    mirrored += draw.mirror;
    ++cut_y.at(static_cast<size_t>(draw.cut_y));
    ++cut_x.at(static_cast<size_t>(draw.cut_x));
  }
  // Chi-square against uniform: mean = cells - 1, six standard deviations of slack.
  const auto chi_square = [&](const auto& cells) {
    const double expected = static_cast<double>(kDraws) / static_cast<double>(cells.size());
    double sum = 0;
    for (const int64_t n : cells)
      sum += (n - expected) * (n - expected) / expected;
    return sum;
  };
  CHECK(chi_square(shifts) < 80 + 6 * 12.7);
  CHECK(chi_square(cut_y) < 31 + 6 * 7.9);
  CHECK(chi_square(cut_x) < 31 + 6 * 7.9);
  CHECK(std::abs(mirrored - kDraws / 2) < 6 * 71);
}

TEST_CASE("augment: a draw depends on seed, epoch and index and on nothing else") {
  const ImageShape shape{3, 32, 32};
  const AugmentOptions options{4, true, 8};
  const auto same = [&](uint64_t seed, int64_t epoch, int64_t first) {
    int equal = 0;
    for (int64_t i = 0; i < 64; ++i) {
      const auto a = draw_augmentation(options, shape, 1, 2, i);
      const auto b = draw_augmentation(options, shape, seed, epoch, i + first);
      equal += a.dy == b.dy && a.dx == b.dx && a.mirror == b.mirror && a.cut_y == b.cut_y;
    }
    return equal;
  };
  CHECK(same(1, 2, 0) == 64);
  CHECK(same(2, 2, 0) < 8);
  CHECK(same(1, 3, 0) < 8);
  CHECK(same(1, 2, 1) < 8);
}

}  // namespace
}  // namespace sculpt::data
