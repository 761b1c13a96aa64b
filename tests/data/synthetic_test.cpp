#include "data/sets/synthetic.h"

#include <array>
#include <cmath>
#include <doctest/doctest.h>
#include <vector>

#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

uint64_t fnv1a(const std::vector<uint8_t>& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const uint8_t b : bytes)
    hash = (hash ^ b) * 0x100000001b3u;
  return hash;
}

TEST_CASE("synthetic: the synthetic set is balanced and its splits differ") {
  const TrainTest sets = load_synthetic(200, 100, 3);
  for (const Dataset* set : {&sets.train, &sets.test}) {
    CHECK(set->class_names.size() == 10);
    for (size_t block = 0; block < set->labels.size(); block += 10) {
      std::array<int, 10> count{};
      for (size_t i = block; i < block + 10; ++i)
        ++count.at(static_cast<size_t>(set->labels[i]));
      for (const int n : count)
        CHECK(n == 1);
    }
  }
  CHECK(sets.train.labels[0] * 1000 + sets.train.labels[10] * 100 + sets.train.labels[20] !=
        sets.test.labels[0] * 1000 + sets.test.labels[10] * 100 + sets.test.labels[20]);
  for (int64_t i = 0; i < 100; ++i) {
    REQUIRE_FALSE(std::equal(sets.test.image(i), sets.test.image(i) + 3072, sets.train.image(i)));
  }
}

TEST_CASE("synthetic: an image depends on seed, split and number only") {
  const TrainTest large = load_synthetic(50, 20, 7);
  const TrainTest small = load_synthetic(20, 30, 7);
  CHECK(
      std::equal(small.train.images.begin(), small.train.images.end(), large.train.images.begin()));
  CHECK(std::equal(large.test.images.begin(), large.test.images.end(), small.test.images.begin()));
  CHECK(load_synthetic(20, 30, 8).train.images != small.train.images);
}

TEST_CASE("synthetic: the pixels are the same on every machine") {
  const TrainTest sets = load_synthetic(100, 10, 0);
  CHECK(fnv1a(sets.train.images) == 5121938040365824316u);
  CHECK(fnv1a(sets.test.images) == 17184651348187342293u);
}

TEST_CASE(
    "synthetic: mean and deviation are those used for normalisation; classes have no mean colour") {
  const Dataset set = load_synthetic(1000, 10, 0).train;
  std::array<std::array<double, 3>, 10> class_mean{};
  for (size_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < set.size(); ++i) {
      for (size_t p = 0; p < 1024; ++p) {
        const double v = set.image(i)[c * 1024 + p] / 255.0;
        sum += v;
        squares += v * v;
        class_mean[static_cast<size_t>(set.labels[static_cast<size_t>(i)])][c] += v / 1024 / 100;
      }
    }
    const double n = 1024.0 * static_cast<double>(set.size());
    const double mean = sum / n;
    CHECK(std::fabs(mean - set.normalization.mean[c]) < 0.02);
    CHECK(std::fabs(std::sqrt(squares / n - mean * mean) - set.normalization.std[c]) < 0.01);
    // Between images the mean colour deviates by about 0.16, so class means by 0.016.
    for (const auto& m : class_mean)
      CHECK(std::fabs(m[c] - mean) < 0.08);
  }
}

}  // namespace
}  // namespace sculpt::data
