#pragma once
// MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): IDX files.

#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// {train,t10k}-{images-idx3,labels-idx1}-ubyte, or with a dot before "idx", unpacked, in root.
/// Counts and image size come from the headers and must match the sizes of the files.
TrainTest load_mnist(const std::string& root);
TrainTest load_fashion_mnist(const std::string& root);

}  // namespace sculpt::data
