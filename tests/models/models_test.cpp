#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>

#include "engine/core/error.h"
#include "engine/nn/cost.h"
#include "models/registry.h"

namespace sculpt {
namespace {

std::unique_ptr<Network> build(const models::ModelOptions& options, int64_t classes, int64_t size,
                               int64_t channels = 3) {
  NetworkSpec spec;
  spec.model = models::make_model(options, classes);
  spec.image = {channels, size, size};
  spec.classes = classes;
  return std::make_unique<Network>(spec, kernels::cpu_backend(), 2);
}

std::unique_ptr<Network> build(const std::string& name, int64_t classes = 10, int64_t size = 32,
                               int64_t channels = 3) {
  models::ModelOptions options;
  options.name = name;
  return build(options, classes, size, channels);
}

TEST_CASE("models: parameter counts are those of the published networks") {
  // Counted from the papers' tables (projection shortcuts, biases only in the classifier).
  const std::map<std::string, int64_t> counts = {{"resnet20", 272474},   {"resnet32", 466906},
                                                 {"resnet44", 661338},   {"resnet56", 855770},
                                                 {"resnet110", 1730714}, {"resnet18", 11173962},
                                                 {"resnet34", 21282122}, {"resnet50", 23520842}};
  for (const auto& [name, count] : counts) {
    CAPTURE(name);
    CHECK(build(name)->parameters().count() == count);
  }
  CHECK(build("mlp", 10, 28, 1)->parameters().count() == 266610);  // LeNet-300-100 on MNIST
  models::ModelOptions options;
  options.name = "resnet18";
  options.stem = "imagenet";
  CHECK(build(options, 1000, 224)->parameters().count() == 11689512);  // torchvision
  options.name = "resnet50";
  CHECK(build(options, 1000, 224)->parameters().count() == 25557032);  // torchvision
}

TEST_CASE("models: multiply-accumulates are those of the published networks") {
  auto macs = [](const Network& network) {
    int64_t sum = 0;
    for (const auto& layer : layer_costs(network))
      sum += layer.macs;
    return static_cast<double>(sum);
  };
  CHECK(macs(*build("resnet20")) == doctest::Approx(41.0e6).epsilon(0.01));
  CHECK(macs(*build("resnet18")) == doctest::Approx(0.556e9).epsilon(0.01));
  models::ModelOptions options;
  options.name = "resnet50";
  options.stem = "imagenet";
  CHECK(macs(*build(options, 1000, 224)) == doctest::Approx(4.09e9).epsilon(0.01));
}

TEST_CASE("models: every model trains a step at any width") {
  const Normalization normalization{{0.5f, 0.5f, 0.5f}, {0.2f, 0.2f, 0.2f}};
  std::vector<uint8_t> pixels(2 * 3 * 32 * 32);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<uint8_t>(i * 7919 >> 3);
  const std::vector<int32_t> labels = {1, 3};
  for (const auto& entry : models::model_table()) {
    for (const double width : {0.01, 0.2}) {
      CAPTURE(entry.name);
      CAPTURE(width);
      models::ModelOptions options;
      options.name = entry.name;
      options.width = width;
      const auto network = build(options, 10, 32);
      network->initialise(1);
      network->load({pixels.data(), labels.data(), 2}, normalization);
      const auto sums = network->forward(Mode::train);
      CHECK(std::isfinite(sums.loss));
      network->backward();
      const auto g = network->parameters().gradients();
      CHECK(std::ranges::all_of(g, [](float v) { return std::isfinite(v); }));
      // The classifier's bias always has a gradient, so the loss reaches the parameters.
      const auto& bias = network->parameters().parameters().back();
      const auto db = ParameterArena::slice(g, bias);
      CHECK(std::ranges::any_of(db, [](float v) { return v != 0; }));
      CHECK(network->parameters().prunable_count() > 0);
    }
  }
}

TEST_CASE("models: PyTorch's names, and exempt layers") {
  models::ModelOptions options;
  NetworkSpec spec;
  spec.model = models::make_model(options, 10);
  spec.prune_first_conv = false;
  spec.prune_classifier = false;
  const Network network(spec, kernels::cpu_backend(), 1);
  std::map<std::string, bool> prunable;
  for (const auto& p : network.parameters().parameters())
    prunable[p.name] = p.prunable;
  for (const char* name :
       {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.bias", "layer3.2.bn2.bias", "fc.weight", "fc.bias"}) {
    CAPTURE(name);
    CHECK(prunable.contains(name));
  }
  CHECK_FALSE(prunable["conv1.weight"]);
  CHECK_FALSE(prunable["fc.weight"]);
  CHECK(prunable["layer3.2.conv2.weight"]);
  CHECK(network.parameters().prunable_count() == 270896 - 432 - 640);
}

TEST_CASE("models: an unknown name lists the models, a small image names the layer") {
  models::ModelOptions options;
  options.name = "resnet21";
  CHECK_THROWS_WITH_AS(models::make_model(options, 10), doctest::Contains("resnet20, resnet32"),
                       Error);
  CHECK_THROWS_WITH_AS(build("vgg11_bn", 10, 16), doctest::Contains("use larger images"), Error);
}

}  // namespace
}  // namespace sculpt
