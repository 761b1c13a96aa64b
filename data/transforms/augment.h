#pragma once
// Augmentation is a random crop, mirror and cutout of uint8 images. It is a pure function of (seed,
// epoch, index).

#include <cstdint>

#include "engine/core/batch_source.h"
#include "kernels/common/augmentation.h"

namespace sculpt::data {

struct AugmentOptions {
  int64_t crop_padding = 0;  ///< black pixels added to each side before a crop of the old size
  bool flip = false;         ///< mirror left-right with probability 1/2
  int64_t cutout = 0;        ///< side of the erased square (DeVries & Taylor 2017); 0 = off

  bool any() const { return crop_padding > 0 || flip || cutout > 0; }
};

/// The random draw for one image.
using Augmentation = kernels::AugmentDraw;

/// Returns the rule in the form in which devices use it.
kernels::AugmentRule augment_rule(const AugmentOptions& options, uint64_t seed);

/// Returns the draw for image `index` of the data set in `epoch`.
Augmentation draw_augmentation(const AugmentOptions& options, const ImageShape& shape,
                               uint64_t seed, int64_t epoch, int64_t index);

/// Augments one image: out[c,y,x] := in[c, y+dy, x'+dx], 0 outside the image, where x' is x or its
/// mirror image. This pads, crops and mirrors, in this order, as torchvision's RandomCrop(padding)
/// and RandomHorizontalFlip before ToTensor do. Then the pixels of the erased square that lie
/// inside the image become fill[c] (the mean colour, which is 0 after normalisation, as in the
/// paper). in, out: [channels][height][width], not overlapping; fill: [channels].
void augment(uint8_t* out, const uint8_t* in, const ImageShape& shape,
             const AugmentOptions& options, const Augmentation& draw, const uint8_t* fill);

}  // namespace sculpt::data
