#pragma once
// Checks that there are enough training images for the criteria that score weights on data, and
// names the settings that can change it if there are not.

#include <cstdint>

#include "data/split.h"

namespace sculpt::data {

/// Throws Error naming the class if one has fewer than per_class images in the subset.
void require_images_of_each_class(const Subset& subset, int64_t per_class);

/// Checks the training set of `splits`, which is the split by `options`. The message names the
/// settings that can help in this config. If the labels are not known, only the number of all
/// images is checked.
void require_images_to_score(const DataSplits& splits, const DataOptions& options,
                             int64_t per_class, bool labels_known);

}  // namespace sculpt::data
