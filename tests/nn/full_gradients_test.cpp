// Gradients of masked weights on request, in networks whose layers skip masked weights, against
// differences of the loss in double.

#include "engine/parameters/full_gradients.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "kernels/common/parallel.h"
#include "tests/nn/noise_network.h"

namespace sculpt {
namespace {

constexpr int32_t kBatch = 19;

class MaskedNetwork : public testing::NoiseNetwork {
 public:
  MaskedNetwork(const std::string& model, SparseKernels sparse)
      : NoiseNetwork(model, kBatch, 0.25, 16, {.sparse = sparse}) {
    mask(0.1, 7);
  }

  Graph& graph() { return network_.graph(); }
  bool skips_masked() const { return network_.skips_masked(); }
  void forward() {
    load(network_);
    network_.forward(Mode::train);
  }
  void backward() { network_.backward(); }
  std::vector<float> full_gradients() {
    const auto values = parameters().full_gradients().values<float>();
    return {values.begin(), values.end()};
  }
  std::vector<float> gradients() {
    const auto values = dense_parameters().gradients();
    return {values.begin(), values.end()};
  }

  /// The derivatives of the mean loss by these weights, masked ones too, as differences in double.
  std::vector<double> numeric_gradients(const std::vector<size_t>& indices) {
    const auto twin = network_.rebuild(kernels::reference_backend(), kBatch);
    const auto loss_with = [&](size_t i, double value) {
      twin->parameters().edit_weights<double>()[i] = value;
      load(*twin);
      return twin->forward(Mode::train).loss / kBatch;
    };
    std::vector<double> gradients;
    for (const size_t i : indices) {
      const double w = twin->parameters().weights<double>()[i], h = 1e-6;
      const double above = loss_with(i, w + h), below = loss_with(i, w - h);
      twin->parameters().edit_weights<double>()[i] = w;
      gradients.push_back((above - below) / (2 * h));
    }
    return gradients;
  }
};

/// Some masked and some kept weights of every prunable parameter, chosen at random.
std::vector<size_t> some_weights(const ParameterArena& arena) {
  const RandomStream random(12, Purpose::test);
  uint64_t draw = 0;
  std::vector<size_t> indices;
  for (const Parameter& p : arena.parameters())
    for (int i = 0; p.prunable && i < 3; ++i)
      indices.push_back(static_cast<size_t>(
          p.offset + static_cast<int64_t>(random.below(draw++, static_cast<uint64_t>(p.count)))));
  return indices;
}

/// |gradients - expected| / |expected|, at these weights.
double error_at(const std::vector<size_t>& indices, const std::vector<float>& gradients,
                const std::vector<double>& expected) {
  double difference = 0, size = 0;
  for (size_t k = 0; k < indices.size(); ++k) {
    difference += std::pow(gradients[indices[k]] - expected[k], 2);
    size += std::pow(expected[k], 2);
  }
  return std::sqrt(difference / size);
}

// Some activations lie so near to the kink of ReLU that float rounds them to its other side, so the
// bound is the error of dense kernels.
TEST_CASE("full gradients: those of masked weights, too, are derivatives of the loss") {
  for (const std::string model : {"lenet", "resnet20"}) {
    CAPTURE(model);
    MaskedNetwork network(model, SparseKernels::on), dense(model, SparseKernels::off);
    network.parameters().full_gradients().request();
    for (MaskedNetwork* each : {&network, &dense}) {
      each->forward();
      each->backward();
    }
    REQUIRE(network.skips_masked());
    REQUIRE_FALSE(network.parameters().layout()->dense());
    CHECK_FALSE(network.parameters().full_gradients().requested());

    const std::vector<size_t> indices = some_weights(network.parameters());
    const std::vector<double> expected = network.numeric_gradients(indices);
    int64_t masked = 0;
    for (size_t k = 0; k < indices.size(); ++k)
      masked += network.parameters().masks()[indices[k]] == 0 && expected[k] != 0;
    CHECK(masked > 5);
    const double of_dense = error_at(indices, dense.gradients(), expected);
    CHECK(of_dense < 0.05);
    CHECK(error_at(indices, network.full_gradients(), expected) < 1.5 * of_dense + 1e-4);
  }
}

TEST_CASE("full gradients: the optimizer gets the same ones, at kept weights only") {
  for (const bool after_forward : {false, true}) {
    CAPTURE(after_forward);
    MaskedNetwork network("resnet20", SparseKernels::on), usual("resnet20", SparseKernels::on);
    if (!after_forward) network.parameters().full_gradients().request();
    network.forward();
    if (after_forward) network.parameters().full_gradients().request();
    network.backward();
    usual.forward();
    usual.backward();
    const std::vector<float> full = network.full_gradients();
    const std::vector<float> stored = network.gradients(), expected = usual.gradients();
    const auto masks = network.parameters().masks();
    double difference = 0, size = 0;
    for (size_t i = 0; i < full.size(); ++i) {
      REQUIRE(stored[i] == (masks[i] != 0 ? full[i] : 0));
      difference += std::pow(double{stored[i]} - double{expected[i]}, 2);
      size += std::pow(double{expected[i]}, 2);
    }
    CHECK(std::sqrt(difference / size) < 1e-4);
  }
}

TEST_CASE("full gradients: of layers on dense kernels, and of layers with both kinds") {
  for (const SparseKernels sparse : {SparseKernels::off, SparseKernels::automatic}) {
    MaskedNetwork network("resnet20", sparse), exact("resnet20", SparseKernels::off);
    for (MaskedNetwork* each : {&network, &exact}) {
      each->mask(0.4, 3);
      each->parameters().full_gradients().request();
      each->forward();
      each->backward();
    }
    const std::vector<float> full = network.full_gradients(), expected = exact.gradients();
    double difference = 0, size = 0;
    for (size_t i = 0; i < full.size(); ++i) {
      difference += std::pow(double{full[i]} - double{expected[i]}, 2);
      size += std::pow(double{expected[i]}, 2);
    }
    CHECK(std::sqrt(difference / size) < 1e-4);
  }
}

TEST_CASE("full gradients: a request for the next step leaves those of the last step readable") {
  MaskedNetwork network("lenet", SparseKernels::on);
  FullGradients& gradients = network.parameters().full_gradients();
  gradients.request();
  network.forward();
  network.backward();
  const std::vector<float> full = network.full_gradients();
  gradients.request();
  CHECK(gradients.requested());
  CHECK(network.full_gradients() == full);
}

TEST_CASE("full gradients: a request holds for one step, and steps without one are as ever") {
  MaskedNetwork network("resnet20", SparseKernels::on), usual("resnet20", SparseKernels::on);
  ParameterArena& arena = network.parameters();
  CHECK_THROWS_WITH_AS(arena.full_gradients().values<float>(), doctest::Contains("request()"),
                       Error);
  network.forward();
  network.backward();
  const size_t bytes = arena.bytes();
  const int64_t groups = network.graph().groups_on_blocks();
  REQUIRE(groups > 0);
  CHECK_THROWS_AS(arena.full_gradients().values<float>(), Error);
  arena.full_gradients().request();
  network.forward();
  network.backward();
  const int64_t with_request = network.graph().groups_on_blocks() - groups;
  CHECK(with_request < groups);  // groups without a weight go on running on blocks
  CHECK_THROWS_AS(arena.full_gradients().values<double>(), Error);
  network.full_gradients();
  network.forward();
  network.backward();
  CHECK(network.graph().groups_on_blocks() == 2 * groups + with_request);
  CHECK_THROWS_AS(arena.full_gradients().values<float>(), Error);
  CHECK(arena.bytes() == bytes);
  usual.forward();
  usual.backward();
  CHECK(network.gradients() == usual.gradients());
}

}  // namespace
}  // namespace sculpt
