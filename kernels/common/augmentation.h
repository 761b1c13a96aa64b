#pragma once
// The random draw for one image of the training set. The draw is a pure function of (key, epoch,
// index), and the host (data/transforms/augment.h) and devices compute it in the same way.

#include <cstdint>

#include "kernels/common/philox.h"

namespace sculpt::kernels {

/// The pixels with which an image is padded for a random crop.
enum class CropFill : int32_t {
  black,   ///< 0 in every channel
  mean,    ///< the mean colour, as in erased squares
  reflect  ///< the image mirrored at its border pixels, which are not repeated
};

/// Returns the position in [0, size) that stands for `at` where the image is mirrored at its border
/// pixels: -1 is 1, and size is size - 2. Needs -size < at < 2 * size - 1.
SCULPT_HOST_DEVICE constexpr int32_t reflected(int32_t at, int32_t size) {
  if (at < 0) return -at;
  return at < size ? at : 2 * (size - 1) - at;
}

/// Random crop, mirror and cutout of images of one size.
struct AugmentRule {
  int32_t crop_padding = 0;  ///< pixels added to each side before a crop of the old size
  CropFill crop_fill = CropFill::black;  ///< with `reflect`, crop_padding is below both sides
  int32_t flip = 0;                      ///< not 0: mirror left-right with probability 1/2
  int32_t cutout = 0;  ///< side of the erased square (DeVries & Taylor 2017); 0 = off
  uint64_t key = 0;    ///< of the random stream
};

struct AugmentDraw {
  int32_t dy = 0, dx = 0;        ///< shift, each uniform in [-crop_padding, crop_padding]
  int32_t mirror = 0;            ///< 0 or 1
  int32_t cut_y = 0, cut_x = 0;  ///< centre of the erased square, uniform over the image
};

/// Uniform in [0, n) from one random word; n is far below 2^32.
SCULPT_HOST_DEVICE constexpr int32_t scale_word(uint32_t word, int32_t n) {
  return static_cast<int32_t>((uint64_t{word} * static_cast<uint64_t>(n)) >> 32);
}

SCULPT_HOST_DEVICE constexpr AugmentDraw draw_augmentation(const AugmentRule& rule, int32_t height,
                                                           int32_t width, uint64_t epoch,
                                                           uint64_t index) {
  const PhiloxWords words = philox4x32_words(rule.key, index, epoch);
  AugmentDraw draw;
  draw.dy = scale_word(words.at[0], 2 * rule.crop_padding + 1) - rule.crop_padding;
  draw.dx = scale_word(words.at[1], 2 * rule.crop_padding + 1) - rule.crop_padding;
  draw.mirror = rule.flip != 0 && (words.at[2] >> 31) != 0 ? 1 : 0;
  // Each coordinate uses 16 bits of the word, because sides are far below 2^16.
  draw.cut_y = scale_word(words.at[3] & 0xffff0000u, height);
  draw.cut_x = scale_word(words.at[3] << 16, width);
  return draw;
}

}  // namespace sculpt::kernels
