#include "data/score_images.h"

#include <doctest/doctest.h>

#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using test::contains;
using test::error_of;
using test::random_set;

/// 200 images of 10 classes, split.
std::string problem(const DataOptions& options, int64_t per_class, bool labels_known = true) {
  TrainTest sets{random_set(200, {1, 3, 3}, 10, 1), random_set(20, {1, 3, 3}, 10, 2)};
  const DataSplits splits = split(std::move(sets), options, 1);
  return error_of([&] { require_images_to_score(splits, options, per_class, labels_known); });
}

TEST_CASE("score images: the advice names what can help in this config, and nothing else") {
  for (const bool labels_known : {true, false}) {
    CAPTURE(labels_known);
    const auto advice = [&](const DataOptions& options, int64_t per_class) {
      const std::string message = problem(options, per_class, labels_known);
      const size_t end = message.rfind("; ");
      return end == std::string::npos ? message : message.substr(end + 2);
    };
    const std::string lower = "lower prune.score_images_per_class";
    DataOptions options;
    options.name = "cifar10";
    CHECK(advice(options, 10).empty());
    CHECK(advice(options, 50) == lower);
    options.train_limit = 50;
    CHECK(advice(options, 10) == "raise data.train_limit or " + lower);
    CHECK(advice(options, 50) == lower);
    options.val_split = 0.7;
    // The limit of 50 images is too low, too.
    CHECK(advice(options, 10) == "lower data.val_split and raise data.train_limit or " + lower);
    options.train_limit = 9;  // not one image of each class: a lower setting does not help
    CHECK(advice(options, 10) == "lower data.val_split and raise data.train_limit");
    options.train_limit = 0;
    CHECK(advice(options, 10) == "lower data.val_split or " + lower);
    CHECK(advice(options, 50) == lower);
    options.name = "synthetic";
    CHECK(advice(options, 50) == "raise data.synthetic_train or " + lower);
    options.val_split = 0;
    options.train_limit = 50;
    CHECK(advice(options, 50) == "raise data.synthetic_train and data.train_limit or " + lower);
  }
}

TEST_CASE("score images: following the advice helps") {
  DataOptions options;
  options.name = "cifar10";
  options.val_split = 0.7;
  options.train_limit = 10;
  CHECK_FALSE(problem(options, 10).empty());
  options.val_split = 0.01;
  options.train_limit = 190;
  CHECK(problem(options, 10).empty());
  CHECK(problem(options, 10, false).empty());
}

TEST_CASE("score images: where no setting of the data helps, another criterion does") {
  DataOptions options;
  options.name = "cifar10";
  TrainTest sets{random_set(9, {1, 3, 3}, 10, 1), random_set(20, {1, 3, 3}, 10, 2)};
  const DataSplits splits = split(std::move(sets), options, 1);
  const std::string message = error_of([&] { require_images_to_score(splits, options, 1, true); });
  CHECK(contains(message, "class 9 (c9) has 0"));
  CHECK(contains(message, "; choose a prune.criterion that needs no images"));
}

TEST_CASE("score images: the class that lacks images is named") {
  DataOptions options;
  options.train_limit = 10;
  const std::string message = problem(options, 10);
  CHECK(contains(message, "needs 10 images of each class, but class "));
  CHECK(contains(problem(options, 10, false),
                 "prune.score_images_per_class = 10 needs 100 images "
                 "of 10 classes, but there are 10 to train on"));
}

}  // namespace
}  // namespace sculpt::data
