#include "engine/nn/network.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/nn/cost.h"
#include "kernels/common/parallel.h"
#include "kernels/tuning/chooser.h"
#include "tests/nn/small_network.h"

namespace sculpt {
namespace {

using testing::Images;
using testing::kNormalization;
using testing::small_spec;

TEST_CASE("network: the loss is the softmax cross-entropy of its logits") {
  const Images images(19);
  for (const double smoothing : {0.0, 0.1}) {
    Network network(small_spec(smoothing), kernels::cpu_backend(), 24);
    network.initialise(5);
    network.load(images.first(19), kNormalization);
    const auto sums = network.forward(Mode::train);
    const auto logits = network.logits();
    double expected = 0;
    int64_t correct = 0;
    for (int n = 0; n < 19; ++n) {
      const float* row = &logits[static_cast<size_t>(n * 7)];
      double total = 0;
      for (int k = 0; k < 7; ++k)
        total += std::exp(double{row[k]});
      for (int k = 0; k < 7; ++k) {
        const double q = (k == images.labels[n] ? 1 - smoothing : 0) + smoothing / 7;
        expected -= q * (row[k] - std::log(total));
      }
      correct += std::max_element(row, row + 7) - row == images.labels[n];
    }
    CHECK(sums.loss == doctest::Approx(expected).epsilon(1e-5));
    CHECK(sums.correct == correct);
  }
}

TEST_CASE("network: a short batch gives the same as a network of that size") {
  const Images images(21);
  Network large(small_spec(), kernels::cpu_backend(), 64);
  Network exact(small_spec(), kernels::cpu_backend(), 21);
  const Images full(64);
  for (Network* network : {&large, &exact})
    network->initialise(9);
  // This batch leaves other images in the lanes that the short batch does not use.
  large.load(full.first(64), kNormalization);
  large.forward(Mode::train);
  large.backward();
  large.initialise(9);
  for (Network* network : {&large, &exact}) {
    network->load(images.first(21), kNormalization);
    network->forward(Mode::train);
    network->backward();
  }
  CHECK(large.logits() == exact.logits());
  CHECK(std::ranges::equal(large.parameters().gradients(), exact.parameters().gradients()));
  CHECK(std::ranges::equal(large.parameters().state_values(), exact.parameters().state_values()));
}

TEST_CASE("network: a loaded batch is a copy") {
  Images images(5);
  Network network(small_spec(), kernels::cpu_backend(), 5);
  network.initialise(5);
  network.load(images.first(5), kNormalization);
  const double expected = network.forward(Mode::eval).loss;
  network.load(images.first(5), kNormalization);
  std::ranges::fill(images.pixels, uint8_t{0});
  std::ranges::fill(images.labels, 6);
  CHECK(network.forward(Mode::eval).loss == expected);
}

TEST_CASE("network: replays are bit-identical, for any thread count") {
  const Images images(37);
  const int threads = thread_count();
  std::vector<std::vector<float>> gradients;
  for (const int count : {1, 2, 3, 2}) {
    set_thread_count(count);
    Network network(small_spec(), kernels::cpu_backend(), 40);
    network.initialise(2);
    network.load(images.first(37), kNormalization);
    network.forward(Mode::train);
    network.backward();
    const auto g = network.parameters().gradients();
    gradients.emplace_back(g.begin(), g.end());
  }
  set_thread_count(threads);
  CHECK(gradients[1] == gradients[3]);
  CHECK(gradients[0] == gradients[1]);
  CHECK(gradients[1] == gradients[2]);
}

TEST_CASE("network: rebuilding on the reference backend gives the same function") {
  const Images images(6);
  Network network(small_spec(), kernels::cpu_backend(), 6);
  network.initialise(4);
  network.parameters().edit_masks(
      [](std::span<uint8_t> masks) { std::ranges::fill(masks.subspan(0, 9), uint8_t{0}); });
  const auto twin = network.rebuild(kernels::reference_backend(), 6);
  CHECK(twin->parameters().kept_count() == network.parameters().kept_count());
  for (Network* n : {&network, twin.get()}) {
    n->load(images.first(6), kNormalization);
    n->forward(Mode::train);
    n->backward();
  }
  const auto a = network.logits(), b = twin->logits();
  for (size_t i = 0; i < a.size(); ++i)
    CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-4));
  network.parameters().store_dense();
  const auto ga = network.parameters().gradients();
  const auto gb = twin->parameters().gradients<double>();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < ga.size(); ++i) {
    difference += std::pow(ga[i] - gb[i], 2);
    norm += gb[i] * gb[i];
  }
  CHECK(std::sqrt(difference / norm) < 1e-4);
}

TEST_CASE("network: rebuilding keeps the execution, or takes another one") {
  kernels::Chooser chooser;
  const Execution execution = {
      .precision = "fp32",
      .conv = "auto",
      .layers = {.sparse = SparseKernels::on, .winograd = false, .chooser = &chooser},
      .step_graph = false,
      .dense_timing = false};
  Network network(small_spec(), kernels::cpu_backend(), 4, execution);
  network.initialise(1);
  network.parameters().edit_masks(
      [](std::span<uint8_t> mask) { std::ranges::fill(mask.first(9), uint8_t{0}); });

  const auto twin = network.rebuild(kernels::cpu_backend(), 3);
  CHECK(twin->execution().precision == "fp32");
  CHECK(twin->execution().conv == "auto");
  CHECK(twin->execution().layers.sparse == SparseKernels::on);
  CHECK(twin->execution().layers.chooser == &chooser);
  CHECK_FALSE(twin->execution().layers.winograd);
  CHECK_FALSE(twin->execution().step_graph);
  CHECK_FALSE(twin->execution().dense_timing);

  Execution dense = execution;
  dense.layers.sparse = SparseKernels::off;
  const auto other = network.rebuild(kernels::cpu_backend(), 4, dense);
  CHECK(other->execution().layers.sparse == SparseKernels::off);

  // The layers run as the execution says.
  for (Network* each : {&network, twin.get(), other.get()})
    each->graph().follow_masks();
  CHECK(twin->skips_masked() == network.skips_masked());
  const bool backend_skips = kernels::cpu_backend().sparse_conv2d.forward != nullptr;
  CHECK(network.skips_masked() == backend_skips);
  CHECK_FALSE(other->skips_masked());
}

TEST_CASE("network: the gradient of the logit sum, against finite differences") {
  auto spec = small_spec();
  Network network(spec, kernels::reference_backend(), 2);
  network.initialise(6);
  const std::vector<float> ones(2 * 3 * 16 * 16, 1.0f);
  auto weights = network.parameters().edit_weights<double>();
  auto logit_sum = [&] {
    network.load_values(ones.data(), 2);
    network.forward(Mode::frozen);
    double sum = 0;
    for (const float logit : network.logits())
      sum += logit;
    return sum;
  };
  logit_sum();
  network.backward_from_logit_sum();
  const auto g = network.parameters().gradients<double>();
  const std::vector<double> gradient(g.begin(), g.end());
  for (size_t i = 3; i < weights.size(); i += weights.size() / 12) {
    const double w = weights[i], h = 1e-2;
    weights[i] = w + h;
    const double above = logit_sum();
    weights[i] = w - h;
    const double below = logit_sum();
    weights[i] = w;
    // logits() rounds to float, and ReLUs may flip within h.
    CHECK((above - below) / (2 * h) == doctest::Approx(gradient[i]).epsilon(0.05));
  }
}

TEST_CASE("network: initialisation has Kaiming's variance and depends on the seed only") {
  models::ModelOptions options;
  options.name = "resnet18";
  NetworkSpec spec;
  spec.model = models::make_model(options, 10);
  Network network(spec, kernels::cpu_backend(), 1);
  network.initialise(1);
  const auto& arena = network.parameters();
  for (const auto& p : arena.parameters()) {
    if (p.kind != ParameterKind::conv_weight || p.count < 30000) continue;
    CAPTURE(p.name);
    const auto w = ParameterArena::slice(network.parameters().weights(), p);
    double mean = 0, square = 0;
    for (const float v : w) {
      mean += v;
      square += double{v} * v;
    }
    mean /= static_cast<double>(p.count);
    square /= static_cast<double>(p.count);
    const double expected = 2.0 / static_cast<double>(p.shape[0] * p.shape[2] * p.shape[3]);
    CHECK(square == doctest::Approx(expected).epsilon(0.05));
    CHECK(std::abs(mean) < 5 * std::sqrt(expected / static_cast<double>(p.count)));
  }
  const std::vector<float> first(network.parameters().weights().begin(),
                                 network.parameters().weights().end());
  network.initialise(2);
  CHECK_FALSE(std::ranges::equal(first, network.parameters().weights()));
  network.initialise(1);
  CHECK(std::ranges::equal(first, network.parameters().weights()));
}

TEST_CASE("network: labels and class counts are checked") {
  CHECK_THROWS_WITH_AS(
      [] {
        auto spec = small_spec();
        spec.classes = 8;
        Network(spec, kernels::cpu_backend(), 4);
      }(),
      doctest::Contains("7 outputs but the data have 8 classes"), Error);
  Network network(small_spec(), kernels::cpu_backend(), 4);
  network.initialise(1);
  Images images(2);
  images.labels[1] = 7;
  CHECK_THROWS_WITH_AS(network.load(images.first(2), kNormalization),
                       doctest::Contains("label 7 is outside of the 7 classes"), Error);
}

}  // namespace
}  // namespace sculpt
