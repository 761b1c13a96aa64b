// The line between two networks, compared with networks that are mixed and evaluated by plain
// loops.

#include "engine/analyze/connectivity.h"

#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "tests/analyze/measured_network.h"
#include "tests/support/comparison.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// Sets every weight and statistic of the network on the reference backend by hand, and masks by
/// the union.
void mix_by_hand(Network& network, const StoredNetwork& a, const StoredNetwork& b, double alpha) {
  ParameterArena& arena = network.parameters();
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (size_t i = 0; i < masks.size(); ++i)
      masks[i] = a.masks[i] != 0 || b.masks[i] != 0;
  });
  const auto weights = arena.edit_weights<double>();
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = a.weights[i] + alpha * (double{b.weights[i]} - double{a.weights[i]});
  const auto states = arena.edit_state_values<double>();
  for (size_t i = 0; i < states.size(); ++i)
    states[i] = a.states[i] + alpha * (double{b.states[i]} - double{a.states[i]});
}

/// Evaluates image by image.
Evaluation evaluate_by_hand(MeasuredNetwork& measured, bool on_train) {
  Evaluation sum;
  const int64_t count = on_train ? MeasuredNetwork::kTrain : measured.test.size();
  for (int64_t i = 0; i < count; ++i) {
    Batch batch;
    if (on_train) {
      batch = measured.train_images(i, 1);
    } else {
      measured.test.start_epoch(0, i / MeasuredNetwork::kMaxBatch);
      const Batch all = measured.test.next();
      const int64_t n = i % MeasuredNetwork::kMaxBatch;
      batch = {all.images + n * measured.test.image_shape().count(), all.labels + n, 1};
    }
    measured.network.load(batch, measured.test.normalization());
    measured.network.forward(Mode::eval);
    const std::vector<float> logits = measured.network.logits();
    double total = 0;
    for (const float logit : logits)
      total += std::exp(double{logit});
    const auto label = static_cast<size_t>(batch.labels[0]);
    sum.loss += std::log(total) - double{logits[label]};
    sum.accuracy +=
        std::ranges::max_element(logits) - logits.begin() == static_cast<std::ptrdiff_t>(label);
  }
  const auto n = static_cast<double>(count);
  return {sum.loss / n, sum.accuracy / n};
}

void check_same(const Evaluation& actual, const Evaluation& expected, double within) {
  CHECK(std::abs(actual.loss - expected.loss) < within);
  CHECK(std::abs(actual.accuracy - expected.accuracy) < 1e-9);
}

}  // namespace

TEST_CASE("connectivity: every point is the network that plain loops mix and evaluate") {
  MeasuredNetwork exact(kernels::reference_backend());
  const StoredNetwork a = exact.random_values(3, 0.6), b = exact.random_values(4, 0.5);
  constexpr int64_t kPoints = 7;
  const Line line = evaluate_line(exact.network, a, b, kPoints, exact.images());
  REQUIRE(line.recomputed.size() == kPoints);
  REQUIRE(line.interpolated.size() == kPoints);
  for (size_t i = 0; i < kPoints; ++i) {
    CAPTURE(i);
    const double alpha = static_cast<double>(i) / 6;
    CHECK(line.recomputed[i].alpha == doctest::Approx(alpha));
    mix_by_hand(exact.network, a, b, alpha);
    check_same(line.interpolated[i].train, evaluate_by_hand(exact, true), 1e-6);
    check_same(line.interpolated[i].test, evaluate_by_hand(exact, false), 1e-6);
    reestimate_batch_norm(exact.network, exact.images().train, MeasuredNetwork::kTrain,
                          exact.test.normalization(), [] { return false; });
    check_same(line.recomputed[i].train, evaluate_by_hand(exact, true), 1e-6);
    check_same(line.recomputed[i].test, evaluate_by_hand(exact, false), 1e-6);
  }
  CHECK(line.recomputed.front().alpha == 0);
  CHECK(line.recomputed.back().alpha == 1);

  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    MeasuredNetwork measured(*backend);
    const Line other = evaluate_line(measured.network, a, b, kPoints, measured.images());
    for (size_t i = 0; i < kPoints; ++i) {
      CHECK(std::abs(other.recomputed[i].train.loss - line.recomputed[i].train.loss) < 1e-3);
      CHECK(std::abs(other.interpolated[i].test.loss - line.interpolated[i].test.loss) < 1e-3);
    }
  }
}

TEST_CASE("connectivity: a barrier is the maximum minus the mean of the ends") {
  CHECK(barrier(std::vector<double>{1, 5, 2}) == doctest::Approx(3.5));
  CHECK(barrier(std::vector<double>{3, 0, 1}) == doctest::Approx(1));  // an end is the maximum
  CHECK(barrier(std::vector<double>{2, 2}) == 0);
  const std::vector<LinePoint> points = {
      {0, {1.0, 0.9}, {2.0, 0.8}}, {0.5, {4.0, 0.3}, {9.0, 0.5}}, {1, {2.0, 0.7}, {1.0, 0.6}}};
  const Barriers barriers = barriers_of(points);
  CHECK(barriers.train_loss == doctest::Approx(2.5));
  CHECK(barriers.train_error == doctest::Approx(0.5));
  CHECK(barriers.test_loss == doctest::Approx(7.5));
  CHECK(barriers.test_error == doctest::Approx(0.2));
}

TEST_CASE("connectivity: the ends keep their values to the last bit, the mask is the union") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const StoredNetwork a = measured.random_values(5, 0.5), b = measured.random_values(6, 0.5);
  const StoredNetwork start = between(a, b, 0), end = between(a, b, 1), middle = between(a, b, 0.5);
  CHECK(start.weights == a.weights);
  CHECK(start.states == a.states);
  CHECK(end.weights == b.weights);
  CHECK(end.states == b.states);
  set_values(measured.network, middle);
  measured.network.parameters().store_dense();
  const auto masks = measured.network.parameters().masks();
  for (size_t i = 0; i < masks.size(); ++i) {
    REQUIRE((masks[i] != 0) == (a.masks[i] != 0 || b.masks[i] != 0));
    if (masks[i] == 0) REQUIRE(is_plus_zero(measured.network.parameters().weights<float>()[i]));
  }
  CHECK(values_of(measured.network).weights == middle.weights);
  CHECK(values_of(measured.network).states == middle.states);
}

TEST_CASE("analysis images: confusions count every image once, and the losses agree") {
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    MeasuredNetwork measured(*backend);
    set_values(measured.network, measured.random_values(8, 0.7));
    const ClassResults results = evaluate_classes(measured.network, measured.test);
    REQUIRE(results.classes == 3);
    std::vector<int64_t> expected(9);
    for (int64_t i = 0; i < measured.test.size(); ++i) {
      measured.test.start_epoch(0, i / MeasuredNetwork::kMaxBatch);
      const Batch all = measured.test.next();
      const int64_t n = i % MeasuredNetwork::kMaxBatch;
      measured.network.load(
          {all.images + n * measured.test.image_shape().count(), all.labels + n, 1},
          measured.test.normalization());
      measured.network.forward(Mode::eval);
      const std::vector<float> logits = measured.network.logits();
      ++expected[static_cast<size_t>(all.labels[n] * 3 +
                                     (std::ranges::max_element(logits) - logits.begin()))];
    }
    CHECK(results.confusion == expected);
    CHECK(results.images_of(0) + results.images_of(1) + results.images_of(2) == 10);
    const double correct =
        static_cast<double>(results.count(0, 0) + results.count(1, 1) + results.count(2, 2));
    CHECK(results.all.accuracy == doctest::Approx(correct / 10));
    check_same(results.all, evaluate_by_hand(measured, false), 1e-3);
    check_same(evaluate_test(measured.network, measured.images()), results.all, 1e-9);
  }
}
