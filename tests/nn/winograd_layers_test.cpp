// Networks whose wide convolutions run by Winograd's algorithm against the same networks on direct
// kernels.

#include <cmath>
#include <doctest/doctest.h>
#include <utility>

#include "tests/nn/noise_network.h"

namespace sculpt {
namespace {

constexpr int32_t kBatch = 51;
/// A network on one batch of noise. Its layers of 32 and 64 channels are wide enough for Winograd's
/// algorithm.
class Training : public testing::NoiseNetwork {
 public:
  explicit Training(bool winograd)
      : NoiseNetwork("resnet18", kBatch, 0.25, 16, {.winograd = winograd}) {}

  /// Returns the mean loss. The gradients stay in the arena.
  double run() {
    load(network_);
    const double loss = network_.forward(Mode::train).loss / kBatch;
    network_.backward();
    return loss;
  }
};

std::vector<float> gradients_of(Training& training) {
  const auto gradients = training.dense_parameters().gradients();
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
  // At a density of 30 %, sparse kernels replace direct convolutions but not those by Winograd's
  // algorithm.
  Training winograd(true), direct(false);
  for (Training* training : {&winograd, &direct})
    training->mask(0.3, 8);
  winograd.run();
  direct.run();
  const auto dense = gradients_of(winograd), masked = gradients_of(direct);
  int64_t only_dense = 0;  // sparse kernels leave gradients of masked weights alone
  const auto mask = direct.parameters().masks();
  for (size_t i = 0; i < mask.size(); ++i)
    if (mask[i] == 0) only_dense += dense[i] != 0 && masked[i] == 0;
  CHECK(only_dense > 0);
}

}  // namespace
}  // namespace sculpt
