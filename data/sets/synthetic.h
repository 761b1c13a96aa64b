#pragma once
// The built-in data set has ten classes of procedural 32x32 colour images. It needs no file.

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace sculpt::data {

/// The class of an image is 5 * texture + shape: a disc, square, triangle, ring or cross, filled
/// with stripes or with checks. Position, size, rotation, both colours, background, the
/// background's own (stripe or check) texture, occluding bars and noise are random and independent
/// of the class, so that neither colour nor texture statistics of the whole image give it away: a
/// network has to find the object and see shape and filling together.
///
/// Image i of a split is a pure function of (seed, split, i) and is the same on every machine; its
/// class is drawn so that any 10 consecutive images starting at a multiple of 10 hold each class
/// once. An image takes about 60 microseconds.
TrainTest load_synthetic(int64_t train_size, int64_t test_size, uint64_t seed);

/// Returns the labels of the training images without computing the images.
std::vector<int32_t> synthetic_train_labels(int64_t train_size, uint64_t seed);

}  // namespace sculpt::data
