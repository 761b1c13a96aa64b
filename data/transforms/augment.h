#pragma once
// Augmentation is a random crop, mirror and cutout of uint8 images. It is a pure function of (seed,
// epoch, index).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/batch_source.h"
#include "kernels/common/augmentation.h"

namespace sculpt::data {

struct AugmentOptions {
  int64_t crop_padding = 0;  ///< pixels added to each side before a crop of the old size
  bool flip = false;         ///< mirror left-right with probability 1/2
  int64_t cutout = 0;        ///< side of the erased square (DeVries & Taylor 2017); 0 = off
  /// The colour of the padding. With `reflect`, crop_padding must be below both sides of an image.
  kernels::CropFill crop_fill = kernels::CropFill::black;

  bool any() const { return crop_padding > 0 || flip || cutout > 0; }
};

/// Returns the values of data.crop_fill: black, mean, reflect.
std::vector<std::string> crop_fill_names();
kernels::CropFill find_crop_fill(std::string_view name);

/// The random draw for one image.
using Augmentation = kernels::AugmentDraw;

/// Returns the rule in the form in which devices use it.
kernels::AugmentRule augment_rule(const AugmentOptions& options, uint64_t seed);

/// Returns the draw for image `index` of the data set in `epoch`.
Augmentation draw_augmentation(const AugmentOptions& options, const ImageShape& shape,
                               uint64_t seed, int64_t epoch, int64_t index);

/// Augments one image: out[c,y,x] := in[c, y+dy, x'+dx], where x' is x or its mirror image. Outside
/// the image, the value is 0, fill[c] or that of the mirrored image, as crop_fill says. This pads,
/// crops and mirrors, in this order, as torchvision's RandomCrop(padding, fill or padding_mode) and
/// RandomHorizontalFlip before ToTensor do. Then the pixels of the erased square that lie inside
/// the image become fill[c] (the mean colour, which is 0 after normalisation, as in the paper). in,
/// out: [channels][height][width], not overlapping; fill: [channels].
void augment(uint8_t* out, const uint8_t* in, const ImageShape& shape,
             const AugmentOptions& options, const Augmentation& draw, const uint8_t* fill);

}  // namespace sculpt::data
