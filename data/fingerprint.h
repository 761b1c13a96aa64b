#pragma once
// Distinguishes data sets that have the same name and the same sizes, because a resumed run must
// train on the images that it was started with.

#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// Returns 16 hexadecimal digits computed from both sets: shape, classes, normalisation, and all
/// images and labels in their order. Arrays in memory are read whole (45 ms for CIFAR-10 on an AMD
/// EPYC of 2021). A data set whose images stay in files, once there is one, adds its index of
/// files, the sizes of the files and the labels in place of the pixels.
std::string fingerprint(const TrainTest& sets);
std::string fingerprint(const Dataset& train, const Dataset& test);

}  // namespace sculpt::data
