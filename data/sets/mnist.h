#pragma once
// This file loads MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf 2017),
// which are IDX files.

#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// Reads {train,t10k}-{images-idx3,labels-idx1}-ubyte in root, unpacked; a dot instead of the dash
/// before "idx" is accepted, too. Counts and image size come from the headers and must match the
/// sizes of the files.
TrainTest load_mnist(const std::string& root);
TrainTest load_fashion_mnist(const std::string& root);

}  // namespace sculpt::data
