// Networks whose wide convolutions run by Winograd's algorithm against the same networks on direct
// kernels.

#include <cmath>
#include <doctest/doctest.h>
#include <utility>

#include "engine/core/random.h"
#include "engine/nn/network.h"
#include "engine/optim/sgd.h"
#include "models/registry.h"

namespace sculpt {
namespace {

constexpr int64_t kBatch = 51;
constexpr ImageShape kImage = {3, 16, 16};
const Normalization kNormalization{{0.5f, 0.4f, 0.6f}, {0.2f, 0.3f, 0.25f}};

/// A network with layers of 32 and 64 channels that qualify, on one batch of noise.
class Training {
 public:
  explicit Training(bool winograd) : network_(spec(), kernels::cpu_backend(), kBatch) {
    network_.initialise(5);
    network_.graph().replay().winograd = winograd;
    const RandomStream stream(3, Purpose::test);
    for (int64_t i = 0; i < kBatch * kImage.count(); ++i)
      pixels_.push_back(static_cast<uint8_t>(stream.word(static_cast<uint64_t>(i))));
    for (int32_t i = 0; i < kBatch; ++i)
      labels_.push_back(i % 7);
  }

  ParameterArena& parameters() { return network_.parameters(); }

  /// Masks about 1 - density of the prunable weights.
  void mask(double density) {
    const RandomStream stream(8, Purpose::test);
    for (const Parameter& p : parameters().parameters())
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        parameters().masks()[static_cast<size_t>(i)] =
            !p.prunable || stream.uniform(static_cast<uint64_t>(i)) < density ? 1 : 0;
    parameters().apply_masks();
  }

  /// Mean loss; the gradients stay.
  double run() {
    network_.load({pixels_.data(), labels_.data(), kBatch}, kNormalization);
    const double loss = network_.forward(Mode::train).loss / kBatch;
    network_.backward();
    return loss;
  }

 private:
  static NetworkSpec spec() {
    models::ModelOptions options;
    options.name = "resnet18";
    options.width = 0.25;
    NetworkSpec spec;
    spec.model = models::make_model(options, 7);
    spec.image = kImage;
    spec.classes = 7;
    return spec;
  }

  Network network_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
};

std::vector<float> gradients_of(Training& training) {
  const auto gradients = training.parameters().gradients();
  return {gradients.begin(), gradients.end()};
}

/// |a - b| / |b| over the elements of a parameter.
double difference(const Parameter& p, const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i) {
    error += std::pow(double{a[i]} - double{b[i]}, 2);
    norm += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(error / norm);
}

TEST_CASE("winograd layers: losses and gradients of direct kernels") {
  Training winograd(true), direct(false);
  CHECK(winograd.run() == doctest::Approx(direct.run()).epsilon(1e-5));
  const auto fast = gradients_of(winograd), plain = gradients_of(direct);
  CHECK(fast != plain);  // or no layer was wide enough
  for (const Parameter& p : direct.parameters().parameters()) {
    CAPTURE(p.name);
    CHECK(difference(p, fast, plain) < 1e-4);
  }
}

TEST_CASE("winograd layers: the same bits again") {
  Training a(true), b(true);
  CHECK(a.run() == b.run());
  CHECK(gradients_of(a) == gradients_of(b));
}

TEST_CASE("winograd layers: dense kernels down to lower densities than direct ones") {
  // At 30 % direct convolutions give way to sparse ones, and Winograd's do not.
  Training winograd(true), direct(false);
  for (Training* training : {&winograd, &direct})
    training->mask(0.3);
  winograd.run();
  direct.run();
  const auto dense = gradients_of(winograd), masked = gradients_of(direct);
  int64_t only_dense = 0;  // sparse kernels leave gradients of masked weights alone
  const auto mask = std::as_const(direct.parameters()).masks();
  for (size_t i = 0; i < mask.size(); ++i)
    if (mask[i] == 0) only_dense += dense[i] != 0 && masked[i] == 0;
  CHECK(only_dense > 0);
}

}  // namespace
}  // namespace sculpt
