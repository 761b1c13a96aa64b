// A short training run against PyTorch: same initial weights, same images, no augmentation. The
// file comes from tools/make_golden.py, which describes it; PyTorch computed it in float64.

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <vector>

#include "engine/core/error.h"
#include "engine/formats/safetensors.h"
#include "engine/nn/network.h"
#include "engine/optim/sgd.h"
#include "models/registry.h"
#include "tests/support/comparison.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using testing::relative_error;

constexpr const char* kFile = "tests/golden/resnet20_step.safetensors";
constexpr int64_t kBatch = 12, kBatches = 4, kSteps = 20;

std::vector<float> floats(const safetensors::File& file, const std::string& name,
                          const std::vector<int64_t>& shape) {
  const auto& tensor = file.get(name, Dtype::f32, shape);
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  tensor.copy_to(std::as_writable_bytes(std::span(values)));
  return values;
}

std::vector<uint8_t> bytes(const safetensors::File& file, const std::string& name,
                           const std::vector<int64_t>& shape) {
  const auto& tensor = file.get(name, Dtype::u8, shape);
  std::vector<uint8_t> values(static_cast<size_t>(tensor.count()));
  tensor.copy_to(std::as_writable_bytes(std::span(values)));
  return values;
}

std::unique_ptr<Network> golden_network(const safetensors::File& file,
                                        const kernels::Backend& backend) {
  models::ModelOptions options;
  options.name = file.metadata("model");
  options.width = std::stod(file.metadata("width"));
  NetworkSpec spec;
  spec.model = models::make_model(options, 10);
  auto network = std::make_unique<Network>(spec, backend, kBatch);
  network->initialise(1);
  auto& arena = network->parameters();
  for (const auto& p : arena.parameters()) {
    const auto values = floats(file, "initial." + p.name, p.shape);
    std::ranges::copy(values, ParameterArena::slice(arena.edit_weights(), p).begin());
  }
  return network;
}

void check_states(const safetensors::File& file, const std::string& prefix, ParameterArena& arena,
                  double tolerance) {
  for (const auto& s : arena.states()) {
    CAPTURE(s.name);
    const auto expected = floats(file, prefix + s.name, {s.count});
    const auto actual =
        arena.state_values().subspan(static_cast<size_t>(s.offset), static_cast<size_t>(s.count));
    CHECK(relative_error(actual, expected) < tolerance);
  }
}

TEST_CASE("golden: losses and gradients of a ResNet-20 agree with PyTorch") {
  const auto file = safetensors::File::read(kFile, false);
  const auto images = bytes(file, "images", {kBatch * kBatches, 3, 32, 32});
  const auto labels8 = bytes(file, "labels", {kBatch * kBatches});
  const std::vector<int32_t> labels(labels8.begin(), labels8.end());
  const Normalization normalization{floats(file, "mean", {3}), floats(file, "std", {3})};
  const auto losses = floats(file, "loss", {kSteps});

  for (const kernels::Backend* backend : kernels::available_cpu_backends()) {
    CAPTURE(backend->name);
    auto network = golden_network(file, *backend);
    auto& arena = network->parameters();
    OptimOptions options;
    options.momentum = std::stod(file.metadata("momentum"));
    options.weight_decay = std::stod(file.metadata("weight_decay"));
    Sgd optimizer(arena, options);
    const double lr = std::stod(file.metadata("lr"));

    for (int64_t step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      const int64_t first = step % kBatches * kBatch;
      network->load({images.data() + first * 3 * 32 * 32, labels.data() + first, kBatch},
                    normalization);
      const double loss = network->forward(Mode::train).loss / kBatch;
      CHECK(std::abs(loss - losses[step]) < 1e-3 * losses[step]);
      network->backward();
      if (step == 0) {
        for (const auto& p : arena.parameters()) {
          CAPTURE(p.name);
          const auto expected = floats(file, "gradient." + p.name, p.shape);
          CHECK(relative_error(ParameterArena::slice(arena.gradients(), p), expected) < 1e-4);
        }
        check_states(file, "after_step_1.", arena, 1e-4);
      }
      optimizer.step(lr);
    }
    // Twenty steps amplify the rounding of the first.
    check_states(file, "final.", arena, 2e-3);
  }
}

}  // namespace
}  // namespace sculpt
