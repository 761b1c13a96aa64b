#include "data/split.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <set>
#include <vector>

#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using test::contains;
using test::error_of;
using test::random_set;

TrainTest sets(int64_t train = 200, int64_t test = 60) {
  return {random_set(train, {1, 3, 3}, 10, 1), random_set(test, {1, 3, 3}, 10, 2)};
}

bool strictly_ascending(const std::vector<int32_t>& v) {
  return std::adjacent_find(v.begin(), v.end(), std::greater_equal<>()) == v.end();
}

TEST_CASE("split: without limits everything is used and accuracy is measured on the test set") {
  const DataSplits all = split(sets(), {}, 1);
  CHECK(all.train.size() == 200);
  CHECK(all.val.size() == 0);
  CHECK(all.test.size() == 60);
  CHECK(&all.eval() == &all.test);
  CHECK(strictly_ascending(all.train.indices));
}

TEST_CASE("split: the validation set is held out of the training set, by seed") {
  DataOptions options;
  options.val_split = 0.1;
  const DataSplits a = split(sets(), options, 5), b = split(sets(), options, 5);
  CHECK(a.val.size() == 20);
  CHECK(a.train.size() == 180);
  CHECK(&a.eval() == &a.val);
  CHECK(a.val.dataset == a.train.dataset);
  std::vector<int32_t> both = a.val.indices;
  both.insert(both.end(), a.train.indices.begin(), a.train.indices.end());
  std::sort(both.begin(), both.end());
  CHECK(strictly_ascending(both));
  CHECK(both.front() == 0);
  CHECK(both.back() == 199);
  CHECK(a.val.indices == b.val.indices);
  CHECK(a.val.indices != split(sets(), options, 6).val.indices);
  CHECK(a.test.indices == split(sets(), {}, 5).test.indices);

  options.val_split = 1e-6;
  CHECK(split(sets(), options, 5).val.size() == 1);
  options.val_split = 0.999;
  CHECK(contains(error_of([&] { split(sets(), options, 5); }), "data.val_split"));
}

TEST_CASE("split: limits choose random, nested subsets outside the validation set") {
  DataOptions options;
  options.val_split = 0.25;
  options.train_limit = 40;
  options.test_limit = 15;
  const DataSplits large = split(sets(), options, 9);
  options.train_limit = 10;
  const DataSplits small = split(sets(), options, 9);
  CHECK(large.train.size() == 40);
  CHECK(large.test.size() == 15);
  CHECK(large.val.size() == 50);
  for (const DataSplits* s : {&large, &small}) {
    CHECK(strictly_ascending(s->train.indices));
    CHECK(strictly_ascending(s->test.indices));
    for (const int32_t i : s->train.indices) {
      CHECK_FALSE(std::binary_search(s->val.indices.begin(), s->val.indices.end(), i));
    }
  }
  CHECK(std::includes(large.train.indices.begin(), large.train.indices.end(),
                      small.train.indices.begin(), small.train.indices.end()));
  CHECK(large.train.indices.back() > 60);  // not just the first ones
  CHECK(large.train.indices != split(sets(), options, 10).train.indices);
  options = {};
  options.train_limit = 1000;
  CHECK(split(sets(), options, 9).train.size() == 200);
}

TEST_CASE("split: every epoch is another permutation, fixed by the seed") {
  const auto order = epoch_order(1000, 42, 3);
  std::vector<int32_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i)
    REQUIRE(sorted[i] == static_cast<int32_t>(i));
  CHECK(order == epoch_order(1000, 42, 3));
  CHECK(order != epoch_order(1000, 42, 4));
  CHECK(order != epoch_order(1000, 43, 3));
  CHECK(epoch_order(0, 1, 1).empty());
  CHECK(epoch_order(1, 1, 1) == std::vector<int32_t>{0});

  // The place of element 0 is uniform. The test counts 10 places in 3000 epochs: chi-square with 9
  // degrees of freedom.
  std::vector<double> place(10);
  for (int64_t epoch = 0; epoch < 3000; ++epoch) {
    const auto o = epoch_order(10, 7, epoch);
    ++place[static_cast<size_t>(std::find(o.begin(), o.end(), 0) - o.begin())];
  }
  double chi_square = 0;
  for (const double n : place)
    chi_square += (n - 300) * (n - 300) / 300;
  CHECK(chi_square < 9 + 6 * 4.3);
}

TEST_CASE(
    "split: orders and subsets stay what they were: resumed and repeated runs depend on them") {
  const auto order = epoch_order(50000, 1, 0);
  const std::vector<int32_t> first(order.begin(), order.begin() + 8);
  // Computed once by an independent Philox and Fisher-Yates in Python.
  CHECK(first == std::vector<int32_t>{1676, 32135, 40123, 29964, 12200, 12239, 22595, 39922});
  DataOptions options;
  options.train_limit = 8;
  options.val_split = 0.03;
  const DataSplits s = split(sets(), options, 1);
  CHECK(s.train.indices == std::vector<int32_t>{2, 83, 101, 127, 131, 140, 181, 199});
  CHECK(s.val.indices == std::vector<int32_t>{62, 73, 75, 112, 147, 189});
}

TEST_CASE("split: a class-balanced batch has per_class images of each class, in turns") {
  Dataset set = random_set(205, {2, 3, 3}, 10, 4);
  std::reverse(set.labels.begin(), set.labels.end());
  Subset subset = test::everything(std::move(set));
  subset.indices.erase(subset.indices.begin(), subset.indices.begin() + 20);
  const OwnedBatch batch = class_balanced_batch(subset, 7, 3);
  REQUIRE(batch.view().count == 70);
  REQUIRE(batch.images.size() == 70 * 18);
  std::set<int32_t> used;
  for (size_t i = 0; i < 70; ++i) {
    CHECK(batch.labels[i] == static_cast<int32_t>(i % 10));
    for (const int32_t index : subset.indices) {
      if (std::equal(batch.images.begin() + static_cast<std::ptrdiff_t>(i * 18),
                     batch.images.begin() + static_cast<std::ptrdiff_t>((i + 1) * 18),
                     subset.dataset->image(index))) {
        CHECK(subset.dataset->labels[static_cast<size_t>(index)] == batch.labels[i]);
        used.insert(index);
      }
    }
  }
  CHECK(used.size() == 70);  // distinct, all from the subset
  CHECK(class_balanced_batch(subset, 7, 3).images == batch.images);
  CHECK(class_balanced_batch(subset, 7, 4).images != batch.images);
  CHECK(class_balanced_batch(subset, 7, 3, 1).images != batch.images);
  const std::string message = error_of([&] { class_balanced_batch(subset, 19, 3); });
  CHECK(contains(message, "needs 19 images of each class"));
  CHECK(contains(message, "has 18"));
}

}  // namespace
}  // namespace sculpt::data
