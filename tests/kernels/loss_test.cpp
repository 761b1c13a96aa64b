#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

struct Case {
  int64_t batch, classes;
  float smoothing;
  double scale = 3;
};

const std::vector<Case> kCases = {
    {1, 10, 0.0f},  {7, 3, 0.1f}, {16, 10, 0.0f},      {33, 100, 0.2f},
    {600, 5, 0.1f}, {5, 1, 0.0f}, {20, 10, 0.1f, 300},  // exp(300) overflows a float
};

std::vector<int32_t> labels_for(const Case& c, uint64_t seed) {
  std::vector<int32_t> labels;
  for (int64_t n = 0; n < c.batch; ++n)
    labels.push_back(static_cast<int32_t>(sculpt::philox4x32(seed, static_cast<uint64_t>(n), 0)[0] %
                                          static_cast<uint32_t>(c.classes)));
  return labels;
}

/// One image's loss straight from the definition.
double naive_loss(const Case& c, const Values& z, int32_t label) {
  long double sum = 0;
  for (const double v : z)
    sum += std::exp(static_cast<long double>(v));
  double loss = 0;
  for (int64_t k = 0; k < c.classes; ++k) {
    const double q = (k == label ? 1.0 - double{c.smoothing} : 0.0) +
                     double{c.smoothing} / static_cast<double>(c.classes);
    loss -= q * (z[static_cast<size_t>(k)] - static_cast<double>(std::log(sum)));
  }
  return loss;
}

struct Result {
  LossSums sums;
  Values dlogits;
};

Result run(const Backend& backend, const Case& c, const Values& logits,
           const std::vector<int32_t>& labels, int64_t images = 0) {
  const Launch launch = make_launch(backend, c.batch);
  const ActivationShape shape = {c.classes, 1, 1, 0};
  Activation z(backend, shape, launch, logits, 1000.0), dz(backend, shape, launch);
  DeviceCopy device_labels(backend, labels);
  DeviceScratch scratch(backend, backend.loss.workspace_bytes(c.classes, c.batch));
  // Powers of two: what is added to them can be told exactly.
  const LossSums before{0.0, 4096};
  const auto evaluate = [&](void* dlogits) {
    DeviceCopy sums(backend, std::vector<LossSums>{before});
    backend.loss.softmax_cross_entropy({.sums = sums.data(),
                                        .dlogits = dlogits,
                                        .logits = z.data(),
                                        .labels = device_labels.data(),
                                        .classes = c.classes,
                                        .label_smoothing = c.smoothing,
                                        .images = images,
                                        .workspace = scratch.data(),
                                        .launch = launch});
    LossSums result = sums.values()[0];
    result.correct -= before.correct;
    return result;
  };
  Result result;
  result.sums = evaluate(dz.data());
  CHECK(dz.frame_intact());
  CHECK(dz.padded_lanes_zero());
  const LossSums evaluation = evaluate(nullptr);
  const bool same = evaluation.loss == result.sums.loss;
  CHECK((same || (std::isnan(evaluation.loss) && std::isnan(result.sums.loss))));
  CHECK(evaluation.correct == result.sums.correct);
  result.dlogits = dz.nchw();
  return result;
}

/// Exponentials are computed in double on the CPU and in float on a GPU; sums are double
/// everywhere.
double loss_tolerance(const Backend& backend) {
  return backend.memory == nullptr ? 1e-12 : 1e-6;
}

TEST_CASE("loss: value, gradient and hits") {
  for (const Case& c : kCases) {
    const Values logits = random_values(c.batch * c.classes, 1, c.scale);
    const auto labels = labels_for(c, 2);
    double loss = 0;
    int64_t hits = 0;
    Values differences;
    for (int64_t n = 0; n < c.batch; ++n) {
      const auto row = logits.begin() + n * c.classes;
      const int32_t label = labels[static_cast<size_t>(n)];
      const Values z(row, row + c.classes);
      loss += naive_loss(c, z, label);
      hits += std::max_element(z.begin(), z.end()) - z.begin() == label;
      for (const double d :
           finite_differences([&](const Values& at) { return naive_loss(c, at, label); }, z, 1e-5))
        differences.push_back(d / static_cast<double>(c.batch));
    }
    for (const Backend* backend : all_backends()) {
      CAPTURE(backend->name);
      CAPTURE(fmt::format("batch {} classes {} smoothing {}", c.batch, c.classes, c.smoothing));
      const Result result = run(*backend, c, logits, labels);
      CHECK(result.sums.loss == doctest::Approx(loss).epsilon(loss_tolerance(*backend)));
      CHECK(result.sums.correct == hits);
      CHECK(max_error(result.dlogits, differences) < std::max(1e-6, tolerance(*backend, 1e-6)));
    }
  }
}

TEST_CASE("loss: sums are added to what is there") {
  const Case c{3, 4, 0.0f};
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Launch launch = make_launch(*backend, c.batch);
    Activation z(*backend, {c.classes, 1, 1, 0}, launch, random_values(12, 1), 0.0);
    DeviceCopy labels(*backend, labels_for(c, 2));
    DeviceScratch scratch(*backend, backend->loss.workspace_bytes(c.classes, c.batch));
    DeviceCopy sums(*backend, std::vector<LossSums>(1));
    const auto add = [&] {
      backend->loss.softmax_cross_entropy({.sums = sums.data(),
                                           .logits = z.data(),
                                           .labels = labels.data(),
                                           .classes = c.classes,
                                           .workspace = scratch.data(),
                                           .launch = launch});
      return sums.values()[0];
    };
    const LossSums once = add(), twice = add();
    CHECK(once.loss > 0);
    CHECK(twice.loss == 2 * once.loss);
    CHECK(twice.correct == 2 * once.correct);
  }
}

TEST_CASE("loss: the gradient is that of the mean over a larger batch, if one is given") {
  const Case c{21, 6, 0.1f};
  const Values logits = random_values(c.batch * c.classes, 8, c.scale);
  const auto labels = labels_for(c, 9);
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Result own = run(*backend, c, logits, labels);
    const Result shared = run(*backend, c, logits, labels, 64);
    CHECK(shared.sums.loss == own.sums.loss);
    CHECK(shared.sums.correct == own.sums.correct);
    Values expected = own.dlogits;
    for (double& value : expected)
      value *= 21.0 / 64.0;
    CHECK(max_error(shared.dlogits, expected) < tolerance(*backend, 1e-7));
  }
}

TEST_CASE("loss: the first of equal logits is the answer") {
  const Case c{2, 4, 0.0f};
  const Values logits = {1, 5, 5, 0, 2, 2, 2, 2};
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    CHECK(run(*backend, c, logits, {1, 0}).sums.correct == 2);
    CHECK(run(*backend, c, logits, {2, 3}).sums.correct == 0);
  }
}

TEST_CASE("loss: an impossible class costs nothing without smoothing, a NaN shows") {
  const Case c{1, 3, 0.0f};
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Result result = run(*backend, c, {0, 0, -INFINITY}, {1});
    CHECK(result.sums.loss == doctest::Approx(std::log(2.0)).epsilon(loss_tolerance(*backend)));
    CHECK(result.dlogits[2] == 0);
    CHECK(std::isnan(run(*backend, c, {0, std::nan(""), 1}, {0}).sums.loss));
  }
}

TEST_CASE("loss: the sum does not depend on the number of threads") {
  const Case c{1111, 7, 0.1f};
  const Values logits = random_values(c.batch * c.classes, 3, 4.0);
  const auto labels = labels_for(c, 4);
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const double expected = run(*backend, c, logits, labels).sums.loss;
    for (const int threads : {1, 2, 3, 5}) {
      const ThreadCount scope(threads);
      CHECK(run(*backend, c, logits, labels).sums.loss == expected);
    }
  }
}

}  // namespace
