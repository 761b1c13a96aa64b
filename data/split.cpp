#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "data/label_noise.h"
#include "data/registry.h"
#include "data/score_images.h"
#include "engine/core/error.h"
#include "engine/core/random.h"

namespace sculpt::data {
namespace {

// These are the sub-streams of Purpose::subset.
constexpr uint64_t kTrainSubset = 0;
constexpr uint64_t kTestSubset = 1;
constexpr uint64_t kStatisticsOrder = 2;

std::vector<int32_t> iota(int64_t size) {
  std::vector<int32_t> indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

void shuffle(std::vector<int32_t>& list, const RandomStream& stream) {
  for (size_t i = list.size(); i > 1; --i) {
    std::swap(list[i - 1], list[stream.below(i - 1, i)]);
  }
}

/// Returns the first `limit` indices of a random order, in ascending order. Returns all of them if
/// limit is 0.
std::vector<int32_t> limited(std::vector<int32_t> indices, int64_t limit,
                             const RandomStream& stream) {
  if (limit == 0 || limit >= static_cast<int64_t>(indices.size())) return indices;
  shuffle(indices, stream);
  indices.resize(static_cast<size_t>(limit));
  std::sort(indices.begin(), indices.end());
  return indices;
}

/// Removes `count` random elements from `indices` and returns them. Both lists are in ascending
/// order afterwards.
std::vector<int32_t> hold_out(std::vector<int32_t>& indices, int64_t count,
                              const RandomStream& stream) {
  shuffle(indices, stream);
  const auto middle = indices.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<int32_t> held(indices.begin(), middle);
  indices.erase(indices.begin(), middle);
  std::sort(held.begin(), held.end());
  std::sort(indices.begin(), indices.end());
  return held;
}

}  // namespace

DataSplits split(TrainTest sets, const DataOptions& options, uint64_t seed) {
  DataSplits splits;
  std::vector<int32_t> train = iota(sets.train.size());
  if (options.val_split > 0) {
    const double share = options.val_split * static_cast<double>(train.size());
    const int64_t count = std::max<int64_t>(1, std::llround(share));
    if (count >= static_cast<int64_t>(train.size())) {
      fail("data.val_split = {} holds out all {} training images; choose a smaller fraction",
           options.val_split, train.size());
    }
    splits.val.indices = hold_out(train, count, RandomStream(seed, Purpose::split));
  }
  splits.train.indices = limited(std::move(train), options.train_limit,
                                 RandomStream(seed, Purpose::subset, kTrainSubset));
  splits.test.indices = limited(iota(sets.test.size()), options.test_limit,
                                RandomStream(seed, Purpose::subset, kTestSubset));
  add_label_noise(sets.train, splits.train.indices, options.label_noise,
                  static_cast<uint64_t>(options.label_noise_seed));
  splits.train.dataset = std::make_shared<const Dataset>(std::move(sets.train));
  splits.val.dataset = splits.train.dataset;
  splits.test.dataset = std::make_shared<const Dataset>(std::move(sets.test));
  return splits;
}

DataSplits load(const DataOptions& options, uint64_t seed) {
  return split(load_dataset(options), options, seed);
}

std::vector<int32_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch) {
  std::vector<int32_t> order = iota(size);
  shuffle(order, RandomStream(seed, Purpose::shuffle, static_cast<uint64_t>(epoch)));
  return order;
}

OwnedBatch class_balanced_batch(const Subset& subset, int64_t per_class, uint64_t seed,
                                int64_t draw) {
  require_images_of_each_class(subset, per_class);
  const Dataset& set = *subset.dataset;
  const RandomStream stream(seed, Purpose::score_batch, static_cast<uint64_t>(draw));
  std::vector<std::vector<std::pair<uint32_t, int32_t>>> members(static_cast<size_t>(set.classes));
  for (const int32_t index : subset.indices) {
    const auto label = static_cast<size_t>(set.labels[static_cast<size_t>(index)]);
    members[label].emplace_back(stream.word(static_cast<uint64_t>(index)), index);
  }
  for (auto& of_class : members)
    std::sort(of_class.begin(), of_class.end());
  OwnedBatch batch;
  batch.images.reserve(static_cast<size_t>(per_class * set.classes * set.shape.count()));
  for (size_t i = 0; i < static_cast<size_t>(per_class); ++i) {
    for (size_t c = 0; c < members.size(); ++c) {
      const uint8_t* image = set.image(members[c][i].second);
      batch.images.insert(batch.images.end(), image, image + set.shape.count());
      batch.labels.push_back(static_cast<int32_t>(c));
    }
  }
  return batch;
}

std::vector<int32_t> statistics_order(const Subset& subset, uint64_t seed) {
  std::vector<int32_t> order = subset.indices;
  shuffle(order, RandomStream(seed, Purpose::subset, kStatisticsOrder));
  return order;
}

OwnedBatch ordered_batch(const Subset& subset, const std::vector<int32_t>& order, int64_t first,
                         int64_t count) {
  const Dataset& set = *subset.dataset;
  OwnedBatch batch;
  batch.images.reserve(static_cast<size_t>(count * set.shape.count()));
  for (int64_t i = first; i < first + count; ++i) {
    const int32_t index = order.at(static_cast<size_t>(i));
    const uint8_t* image = set.image(index);
    batch.images.insert(batch.images.end(), image, image + set.shape.count());
    batch.labels.push_back(set.labels[static_cast<size_t>(index)]);
  }
  return batch;
}

}  // namespace sculpt::data
