#pragma once
// Label noise gives some training images a wrong class (data.label_noise).

#include <cstdint>
#include <span>

#include "data/dataset.h"

namespace sculpt::data {

/// Gives exactly round(fraction * n) of the n images `indices` of the set another class, which is
/// uniform among the other classes. The images are those with the smallest random words (ties: the
/// smaller index). Images and classes are a pure function of (seed, indices, labels); other images
/// keep their labels. With the same seed and images, a smaller fraction changes a subset of what a
/// larger one changes, and in the same way. Throws Error if there is only one class.
void add_label_noise(Dataset& set, std::span<const int32_t> indices, double fraction,
                     uint64_t seed);

}  // namespace sculpt::data
