#pragma once
// Selects the images that a run trains on and those that it is measured on. The selection depends
// only on the seed.

#include <cstdint>
#include <vector>

#include "data/data_options.h"
#include "data/dataset.h"

namespace sculpt::data {

struct DataSplits {
  Subset train;
  Subset val;  ///< held out of the training set; empty if val_split is 0
  Subset test;

  /// Returns the images that accuracy is measured on: val if it is not empty, otherwise test.
  const Subset& eval() const { return val.size() > 0 ? val : test; }
};

/// Reads the data set that the options name and splits it.
DataSplits load(const DataOptions& options, uint64_t seed);

/// Splits a data set. val: round(val_split * size) random images of sets.train (at least one if
/// val_split > 0); train: train_limit random images of the rest of sets.train; test: test_limit
/// random images of sets.test. Then data.label_noise gives some images of train another class;
/// those of val and test keep theirs. A limit of 0, or above the number of images, means all
/// images. If seed and val_split are the same, a smaller limit picks a subset of what a larger
/// limit picks. Throws Error if nothing is left to train on.
DataSplits split(TrainTest sets, const DataOptions& options, uint64_t seed);

/// Returns the numbers 0..size-1 in the random order of (seed, epoch): Fisher-Yates with one Philox
/// draw for each position.
std::vector<int32_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch);

/// A batch that owns its memory.
struct OwnedBatch {
  std::vector<uint8_t> images;  ///< [count][channels][height][width]
  std::vector<int32_t> labels;  ///< [count]

  Batch view() const { return {images.data(), labels.data(), static_cast<int64_t>(labels.size())}; }
};

/// Returns per_class images of every class, chosen at random by (seed, draw) and not augmented, for
/// criteria that score weights on data (SNIP, GraSP). The classes alternate: labels are 0, 1, ...,
/// classes-1, 0, 1, ..., so that any slice is nearly balanced. Throws Error if a class has fewer
/// images.
OwnedBatch class_balanced_batch(const Subset& subset, int64_t per_class, uint64_t seed,
                                int64_t draw = 0);

/// Returns the image indices of a subset in a random order, which depends only on (subset, seed).
std::vector<int32_t> statistics_order(const Subset& subset, uint64_t seed);

/// Returns images [first, first + count) of such an order, without augmentation.
OwnedBatch ordered_batch(const Subset& subset, const std::vector<int32_t>& order, int64_t first,
                         int64_t count);

}  // namespace sculpt::data
