// Fingerprints of data sets: equal for equal sets, and another for every change that a run could
// notice.

#include "data/fingerprint.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <functional>
#include <set>

#include "data/registry.h"
#include "engine/core/random.h"

using namespace sculpt;
using namespace sculpt::data;

namespace {

Dataset random_set(int64_t size, uint64_t seed) {
  Dataset set;
  set.shape = {3, 5, 7};
  set.classes = 10;
  set.normalization = {{0.4f, 0.5f, 0.6f}, {0.2f, 0.2f, 0.3f}};
  const RandomStream random(seed, Purpose::test);
  uint64_t draw = 0;
  set.images.resize(static_cast<size_t>(size * set.shape.count()));
  for (uint8_t& pixel : set.images)
    pixel = static_cast<uint8_t>(random.below(draw++, 256));
  for (int64_t i = 0; i < size; ++i)
    set.labels.push_back(static_cast<int32_t>(random.below(draw++, 10)));
  return set;
}

TrainTest random_sets() {
  return {random_set(31, 1), random_set(11, 2)};
}

}  // namespace

TEST_CASE("fingerprint: every change makes another one") {
  const std::string first = fingerprint(random_sets());
  CHECK(first.size() == 16);
  CHECK(first == fingerprint(random_sets()));
  const std::vector<std::function<void(TrainTest&)>> changes = {
      [](TrainTest& s) {  // labels shifted by one image
        std::rotate(s.train.labels.begin(), s.train.labels.begin() + 1, s.train.labels.end());
      },
      [](TrainTest& s) {  // labels shifted by one class
        for (int32_t& label : s.train.labels)
          label = (label + 1) % 10;
      },
      [](TrainTest& s) { s.test.labels[3] = (s.test.labels[3] + 1) % 10; },
      [](TrainTest& s) { ++s.train.images.front(); },
      [](TrainTest& s) { ++s.train.images.back(); },
      [](TrainTest& s) { ++s.test.images[500]; },
      [](TrainTest& s) {  // another order of images and labels
        const auto pixels = static_cast<std::ptrdiff_t>(s.train.shape.count());
        std::rotate(s.train.images.begin(), s.train.images.begin() + pixels, s.train.images.end());
        std::rotate(s.train.labels.begin(), s.train.labels.begin() + 1, s.train.labels.end());
      },
      [](TrainTest& s) {
        s.train.shape = {3, 7, 5};
      },
      [](TrainTest& s) { s.test.classes = 11; },
      [](TrainTest& s) { s.train.normalization.mean[1] += 0.1f; },
      [](TrainTest& s) { std::swap(s.train, s.test); },
      [](TrainTest& s) {
        s.train.labels.pop_back();
        s.train.images.resize(static_cast<size_t>(30 * s.train.shape.count()));
      },
  };
  std::set<std::string> seen = {first};
  for (size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    TrainTest sets = random_sets();
    changes[i](sets);
    CHECK(seen.insert(fingerprint(sets)).second);
  }
}

TEST_CASE("fingerprint: of the synthetic data set, by its settings") {
  DataOptions options;
  options.synthetic_train = 40;
  options.synthetic_test = 20;
  const std::string first = fingerprint(load_dataset(options));
  CHECK(first == fingerprint(load_dataset(options)));
  options.synthetic_seed = 1;
  CHECK(first != fingerprint(load_dataset(options)));
}
