#include "data/label_noise.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <set>
#include <vector>

#include "data/fingerprint.h"
#include "data/loader.h"
#include "data/split.h"
#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using test::contains;
using test::error_of;
using test::random_set;

constexpr int64_t kClasses = 5;

TrainTest sets(int64_t train = 400) {
  return {random_set(train, {1, 2, 2}, kClasses, 1), random_set(30, {1, 2, 2}, kClasses, 2)};
}

DataOptions noisy(double fraction, int64_t seed = 0) {
  DataOptions options;
  options.label_noise = fraction;
  options.label_noise_seed = seed;
  return options;
}

/// Returns the images of `indices` whose class is not that of the clean set.
std::set<int32_t> changed(const Subset& subset, const std::vector<int32_t>& indices) {
  const Dataset clean = sets().train;
  std::set<int32_t> images;
  for (const int32_t i : indices)
    if (subset.dataset->labels[static_cast<size_t>(i)] != clean.labels[static_cast<size_t>(i)])
      images.insert(i);
  return images;
}

TEST_CASE("label noise: exactly the fraction of the training images changes class") {
  for (const double fraction : {0.0, 0.001, 0.15, 0.33, 1.0}) {
    CAPTURE(fraction);
    const DataSplits splits = split(sets(), noisy(fraction), 7);
    CHECK(std::ssize(changed(splits.train, splits.train.indices)) == std::llround(fraction * 400));
    CHECK(splits.test.dataset->labels == sets().test.labels);
    CHECK(splits.train.dataset->images == sets().train.images);
    for (const int32_t label : splits.train.dataset->labels)
      REQUIRE((label >= 0 && label < kClasses));
  }
}

TEST_CASE("label noise: validation images and images beyond a limit keep their classes") {
  DataOptions options = noisy(0.5);
  options.val_split = 0.25;
  options.train_limit = 101;
  const DataSplits splits = split(sets(), options, 3);
  std::vector<int32_t> all(400);
  std::iota(all.begin(), all.end(), 0);
  const std::set<int32_t> images = changed(splits.train, all);
  CHECK(images.size() == 51);  // round(0.5 * 101)
  CHECK(images == changed(splits.train, splits.train.indices));
  CHECK(changed(splits.val, splits.val.indices).empty());
}

TEST_CASE("label noise: the seed of the noise decides, and a smaller fraction changes a subset") {
  const auto labels = [](double fraction, int64_t noise_seed, uint64_t seed) {
    return split(sets(), noisy(fraction, noise_seed), seed).train.dataset->labels;
  };
  const std::vector<int32_t> first = labels(0.3, 4, 1);
  CHECK(first == labels(0.3, 4, 2));
  CHECK(first != labels(0.3, 5, 1));
  const std::vector<int32_t> more = labels(0.6, 4, 1), clean = sets().train.labels;
  for (size_t i = 0; i < clean.size(); ++i)
    if (first[i] != clean[i]) REQUIRE(more[i] == first[i]);
}

TEST_CASE("label noise: the same images and classes as a plain loop chooses") {
  Dataset set = random_set(97, {1, 1, 1}, kClasses, 6);
  std::vector<int32_t> indices;
  for (int32_t i = 1; i < 97; i += 2)
    indices.push_back(i);
  std::vector<int32_t> expected = set.labels;
  const RandomStream stream(9, Purpose::label_noise);
  const auto word = [&](int32_t i) { return stream.words(static_cast<uint64_t>(i))[3]; };
  for (const int32_t i : indices) {
    const auto before = std::ranges::count_if(indices, [&](int32_t other) {
      return word(other) < word(i) || (word(other) == word(i) && other < i);
    });
    if (before >= 12) continue;  // round(0.25 * 48)
    const auto draw = stream.words(static_cast<uint64_t>(i));
    const long double uniform = (static_cast<long double>(draw[1]) * 0x1p32L + draw[0]) * 0x1p-64L;
    const auto step = 1 + static_cast<int32_t>(std::floor(uniform * (kClasses - 1)));
    int32_t& label = expected[static_cast<size_t>(i)];
    label = (label + step) % static_cast<int32_t>(kClasses);
  }
  add_label_noise(set, indices, 0.25, 9);
  CHECK(set.labels == expected);
}

TEST_CASE("label noise: the other classes are equally likely") {
  Dataset set = random_set(20000, {1, 1, 1}, kClasses, 6);
  const std::vector<int32_t> clean = set.labels;
  std::vector<int32_t> indices(20000);
  std::iota(indices.begin(), indices.end(), 0);
  add_label_noise(set, indices, 1, 2);
  std::vector<int64_t> steps(kClasses);
  for (size_t i = 0; i < clean.size(); ++i)
    ++steps[static_cast<size_t>((set.labels[i] - clean[i] + kClasses) % kClasses)];
  CHECK(steps[0] == 0);
  for (size_t step = 1; step < steps.size(); ++step)
    CHECK(std::abs(steps[step] - 5000) < 6 * 62);  // six standard deviations
}

TEST_CASE("label noise: batches have the changed classes, and so does the fingerprint") {
  const DataSplits splits = split(sets(), noisy(0.5), 1), clean = split(sets(), {}, 1);
  const auto loader = make_eval_loader(splits.train, {.batch = 400});
  loader->start_epoch(0, 0);
  const Batch batch = loader->next();
  CHECK(std::vector<int32_t>(batch.labels, batch.labels + batch.count) ==
        splits.train.dataset->labels);
  CHECK(fingerprint(*splits.train.dataset, *splits.test.dataset) !=
        fingerprint(*clean.train.dataset, *clean.test.dataset));
  CHECK(fingerprint(*clean.train.dataset, *clean.test.dataset) == fingerprint(sets()));
}

TEST_CASE("label noise: one class has no other class") {
  TrainTest one = {random_set(10, {1, 2, 2}, 1, 1), random_set(10, {1, 2, 2}, 1, 2)};
  CHECK(contains(error_of([&] { split(std::move(one), noisy(0.5), 1); }), "data.label_noise"));
}

TEST_CASE("crop fill: an image is mirrored for fewer pixels than it has") {
  DataOptions options;
  options.crop_fill = "reflect";
  options.crop_padding = 2;
  const DataSplits splits = split(sets(), {}, 1);
  CHECK(contains(error_of([&] { make_train_loader(splits.train, options, {}); }),
                 "lower data.crop_padding"));
  options.crop_padding = 1;
  CHECK(make_train_loader(splits.train, options, {}) != nullptr);
}

}  // namespace
}  // namespace sculpt::data
