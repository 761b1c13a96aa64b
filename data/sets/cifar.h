#pragma once
// This file loads CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of features from
// tiny images", 2009). The loaders read the binary version, with records of label byte(s) and 3072
// pixel bytes, planar RGB, and the version that is pickled for Python (cifar_pickle.h). Both
// versions hold the same images in the same order.

#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// Reads data_batch_1.bin .. data_batch_5.bin and test_batch.bin in root or
/// root/cifar-10-batches-bin. If they are missing, reads data_batch_1 .. data_batch_5 and
/// test_batch in root or root/cifar-10-batches-py. A record of a .bin file is a label and pixels.
/// `records` is the number of records of each file; tests use small files.
TrainTest load_cifar10(const std::string& root, int64_t records = 10000);

/// Reads train.bin and test.bin in root or root/cifar-100-binary. If they are missing, reads train
/// and test in root or root/cifar-100-python. A record of a .bin file is a coarse label (ignored),
/// a fine label and pixels.
TrainTest load_cifar100(const std::string& root, int64_t train_records = 50000,
                        int64_t test_records = 10000);

}  // namespace sculpt::data
