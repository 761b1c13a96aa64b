// A value has a gradient only if it depends on a parameter, whatever ops stand between the images
// and the first layer with a weight.

#include <cmath>
#include <doctest/doctest.h>
#include <functional>

#include "engine/core/random.h"
#include "engine/nn/cost.h"
#include "engine/ops/ops.h"
#include "engine/plan/plan_cost.h"
#include "models/registry.h"
#include "tests/support/tested_backends.h"

namespace sculpt {
namespace {

constexpr int64_t kBatch = 6;

/// Records the ops before the first weight and notes the values that need no gradient.
struct Front {
  const char* name;
  std::function<Value(Builder&, Value images, std::vector<Value>& unneeded)> record;
};

Value noted(std::vector<Value>& unneeded, Value v) {
  unneeded.push_back(v);
  return v;
}

const std::vector<Front>& fronts() {
  using Values = std::vector<Value>;
  static const std::vector<Front> all = {
      {"flatten",
       [](Builder& b, Value x, Values& none) {
         return b.linear("fc1", noted(none, b.flatten(noted(none, x))), 9);
       }},
      {"pooling, dropout and flatten",
       [](Builder& b, Value x, Values& none) {
         x = noted(none, b.max_pool(noted(none, x), 2, 2));
         x = noted(none, b.dropout(x, 0.3));
         x = noted(none, b.average_pool(x, 2, 1));
         return b.linear("fc1", noted(none, b.flatten(x)), 9);
       }},
      {"an addition of what has no weight, before a convolution",
       [](Builder& b, Value x, Values& none) {
         x = noted(none, b.add(noted(none, x), noted(none, b.relu(x))));
         return b.global_average_pool(b.conv("conv1", x, 9));
       }},
      {"batch norm of images",
       [](Builder& b, Value x, Values& none) {
         x = b.batch_norm("bn", noted(none, x), {.relu = true});
         return b.global_average_pool(b.conv("conv1", x, 9));
       }},
      {"batch norm of a convolution, with the images as residual",
       [](Builder& b, Value x, Values& none) {
         const Value y = b.conv("conv1", x, 3);
         x = b.batch_norm("bn", y, {.relu = true, .residual = noted(none, x)});
         return b.global_average_pool(x);
       }},
      {"an addition of images to a convolution, and pooled images",
       [](Builder& b, Value x, Values& none) {
         const Value sum = b.add(noted(none, x), b.conv("conv1", x, 3));
         const Value pooled = noted(none, b.global_average_pool(x));
         return b.add(b.global_average_pool(sum), pooled);
       }},
  };
  return all;
}

NetworkSpec spec_of(const Front& front, std::vector<Value>& unneeded) {
  NetworkSpec spec;
  spec.image = {3, 6, 6};
  spec.classes = 4;
  spec.model = [&front, &unneeded](Builder& b, Value images) {
    unneeded.clear();
    return b.linear("last", b.relu(front.record(b, images, unneeded)), 4);
  };
  return spec;
}

/// The mean loss of one batch of noise at training step 3.
double loss_of(Network& network) {
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * network.spec().image.count()));
  std::vector<int32_t> labels;
  const RandomStream random(17, Purpose::test);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<uint8_t>(random.word(i));
  for (int32_t i = 0; i < kBatch; ++i)
    labels.push_back(i % 4);
  network.load({pixels.data(), labels.data(), kBatch}, {{0.5f, 0.25f, 0.5f}, {0.25f, 0.25f, 0.5f}});
  return network.forward(Mode::train, 3).loss / kBatch;
}

/// Memory for a hand-made graph: flatten, linear, loss.
size_t planned_bytes(const kernels::Backend& backend, bool images_need_grad) {
  ParameterArena parameters;
  Graph graph(backend, parameters, kBatch);
  const Value images = graph.input(3, 16, 16, images_need_grad);
  const Value x = ops::flatten(graph, "flatten", images);
  const ParameterId weight = parameters.add("w", ParameterKind::linear_weight, {5, 3 * 16 * 16});
  ops::softmax_cross_entropy(graph, ops::linear(graph, "fc", x, weight, std::nullopt), 0);
  parameters.allocate(backend);
  graph.finish();
  return graph.planned_bytes();
}

TEST_CASE("needed gradients: nothing is computed or stored for values without a weight below") {
  for (const Front& front : fronts()) {
    CAPTURE(front.name);
    std::vector<Value> unneeded;
    const NetworkSpec spec = spec_of(front, unneeded);
    Network reference(spec, kernels::reference_backend(), kBatch);
    reference.initialise(5);
    loss_of(reference);
    reference.backward();
    const auto g = reference.parameters().gradients<double>();
    const std::vector<double> expected(g.begin(), g.end());

    // The gradients of the reference are compared with differences of its loss.
    const auto weights = reference.parameters().weights<double>();
    for (size_t i = 0; i < weights.size(); i += std::max<size_t>(1, weights.size() / 40)) {
      const double w = weights[i], h = 1e-6;
      reference.parameters().edit_weights<double>()[i] = w + h;
      const double above = loss_of(reference);
      reference.parameters().edit_weights<double>()[i] = w - h;
      const double below = loss_of(reference);
      reference.parameters().edit_weights<double>()[i] = w;
      CHECK(expected[i] == doctest::Approx((above - below) / (2 * h)).epsilon(1e-4));
    }

    for (const kernels::Backend* backend : test::tested_backends()) {
      CAPTURE(backend->name);
      Network network(spec, *backend, kBatch);
      REQUIRE(!unneeded.empty());
      for (const Value v : unneeded) {
        CHECK_FALSE(network.graph().needs_grad(v));
        CHECK(network.graph().replay().grad(v) == nullptr);
      }
      network.initialise(5);
      loss_of(network);
      network.backward();
      const auto actual = network.parameters().gradients<float>();
      double difference = 0, size = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        difference += std::pow(actual[i] - expected[i], 2);
        size += std::pow(expected[i], 2);
      }
      CHECK(std::sqrt(difference / size) < test::product_tolerance(*backend, 1e-4));
    }
  }
}

TEST_CASE("needed gradients: an MLP plans no memory for the gradient of its flattened images") {
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    CHECK(planned_bytes(*backend, false) < planned_bytes(*backend, true));
  }
}

TEST_CASE("needed gradients: the costs of an MLP count no input gradient in the first layer") {
  models::ModelOptions options;
  options.name = "mlp";
  NetworkSpec spec;
  spec.image = {1, 28, 28};
  spec.model = models::make_model(options, 10);
  Network network(spec, kernels::cpu_backend(), 2);
  const double fc1 = 784 * 300, fc2 = 300 * 100, fc3 = 100 * 10;
  const double expected = 2 * (2 * fc1 + 3 * fc2 + 3 * fc3);
  CHECK(training_flops_per_image(network) == expected);
  CHECK(plan_cost({Cycle{2}}, network, {.images = 50}).flops == 100 * expected);
}

}  // namespace
}  // namespace sculpt
