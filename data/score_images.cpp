#include "data/score_images.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "data/registry.h"
#include "engine/core/error.h"

namespace sculpt::data {
namespace {

/// The numbers of images of one class, or of all classes.
struct Supply {
  int64_t used;       ///< images in the training set
  int64_t unlimited;  ///< images in the training set without data.train_limit
  int64_t all;        ///< images in the training set without data.val_split, too
};

std::vector<int64_t> count_classes(const Dataset& set, const std::vector<int32_t>& indices) {
  std::vector<int64_t> counts(static_cast<size_t>(set.classes));
  for (const int32_t index : indices)
    ++counts[static_cast<size_t>(set.labels[static_cast<size_t>(index)])];
  return counts;
}

/// Returns true if a setting decides the size of the data set.
bool has_any_size(const std::string& name) {
  return std::ranges::any_of(dataset_table(), [&](const DatasetEntry& row) {
    return row.name == name && row.train_size == 0;
  });
}

/// Returns advice such as "raise data.train_limit or lower prune.score_images_per_class". It names
/// only settings that lead to `needed` images, or to a need that can be met. `least` is the number
/// of images that the smallest prune.score_images_per_class needs.
std::string advice(const Supply& supply, int64_t needed, int64_t least,
                   const DataOptions& options) {
  std::vector<std::string> ways;
  // A limit that is not reached now may be in the way once there are more images.
  const bool limited = options.train_limit > 0;
  if (supply.unlimited >= needed) {
    ways.emplace_back("raise data.train_limit");
  } else {
    if (supply.all >= needed)
      ways.push_back(
          fmt::format("lower data.val_split{}", limited ? " and raise data.train_limit" : ""));
    if (has_any_size(options.name))
      ways.push_back(
          fmt::format("raise data.synthetic_train{}", limited ? " and data.train_limit" : ""));
  }
  if (supply.used >= least) ways.emplace_back("lower prune.score_images_per_class");
  if (ways.empty()) ways.emplace_back("choose a prune.criterion that needs no images");
  return fmt::format("{}", fmt::join(ways, " or "));
}

/// Returns a sentence about the first class with fewer than per_class images; "" if there is none.
std::string lacking(const Dataset& set, const std::vector<int64_t>& counts, int64_t per_class) {
  for (size_t c = 0; c < counts.size(); ++c)
    if (counts[c] < per_class)
      return fmt::format(
          "a class-balanced batch needs {} images of each class, but class {}{} has {} in the "
          "training set of {}",
          per_class, c, set.class_names[c].empty() ? "" : " (" + set.class_names[c] + ")",
          counts[c], set.name);
  return "";
}

/// Returns the smallest supply of a class.
Supply smallest_supply(const DataSplits& splits) {
  const Dataset& set = *splits.train.dataset;
  std::vector<int32_t> every(static_cast<size_t>(set.size()));
  std::iota(every.begin(), every.end(), 0);
  const auto used = count_classes(set, splits.train.indices);
  const auto held = count_classes(set, splits.val.indices);
  const auto all = count_classes(set, every);
  std::vector<int64_t> unlimited(all.size());
  std::ranges::transform(all, held, unlimited.begin(), std::minus());
  return {std::ranges::min(used), std::ranges::min(unlimited), std::ranges::min(all)};
}

}  // namespace

void require_images_of_each_class(const Subset& subset, int64_t per_class) {
  const std::string problem =
      lacking(*subset.dataset, count_classes(*subset.dataset, subset.indices), per_class);
  if (!problem.empty()) fail("{}; lower prune.score_images_per_class", problem);
}

void require_images_to_score(const DataSplits& splits, const DataOptions& options,
                             int64_t per_class, bool labels_known) {
  const Dataset& set = *splits.train.dataset;
  if (labels_known) {
    const std::string problem = lacking(set, count_classes(set, splits.train.indices), per_class);
    if (!problem.empty())
      fail("{}; {}", problem, advice(smallest_supply(splits), per_class, 1, options));
    return;
  }
  const int64_t needed = per_class * set.classes;
  const Supply supply{splits.train.size(), set.size() - splits.val.size(), set.size()};
  if (supply.used < needed)
    fail(
        "prune.score_images_per_class = {} needs {} images of {} classes, but there are {} to "
        "train on; {}",
        per_class, needed, set.classes, supply.used, advice(supply, needed, set.classes, options));
}

}  // namespace sculpt::data
