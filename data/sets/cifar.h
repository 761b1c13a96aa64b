#pragma once
// CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of features from tiny images",
// 2009): in their binary version, records of label byte(s) and 3072 pixel bytes, planar RGB; or as
// pickled for Python (cifar_pickle.h). Both hold the same images in the same order.

#include <string>

#include "data/dataset.h"

namespace sculpt::data {

/// data_batch_1.bin .. data_batch_5.bin and test_batch.bin in root or root/cifar-10-batches-bin;
/// else data_batch_1 .. and test_batch in root or root/cifar-10-batches-py. Record: label, pixels.
/// `records` is the number of records of each file; tests use small ones.
TrainTest load_cifar10(const std::string& root, int64_t records = 10000);

/// train.bin and test.bin in root or root/cifar-100-binary; else train and test in root or
/// root/cifar-100-python. Record: coarse label (ignored), fine
/// label, pixels.
TrainTest load_cifar100(const std::string& root, int64_t train_records = 50000,
                        int64_t test_records = 10000);

}  // namespace sculpt::data
