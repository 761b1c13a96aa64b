#pragma once
// This file reads CIFAR as pickled for Python (cifar-10-batches-py, cifar-100-python), which is the
// version that torchvision downloads. A file is a dictionary with "data", a numpy array
// [records][3072] of bytes, where each row is planar RGB as in the binary version, and with lists
// of labels.

#include <cstdint>
#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// Appends the records of the file to `set`, whose name, shape and classes are set. `label_key` is
/// "labels" or "fine_labels". Throws Error naming the file if it is not a pickle of exactly
/// `records` records or if a label is out of range; `hint` is fetch_hint().
void append_pickled(const std::string& path, const std::string& label_key, int64_t records,
                    const std::string& hint, Dataset& set);

}  // namespace sculpt::data
