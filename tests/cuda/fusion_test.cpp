// Convolutions of the CUDA backend sum the channels of their output for the batch norm that
// follows.

#include <doctest/doctest.h>

#if defined(SCULPT_CUDA_ON_HOST)
#include <cuda_runtime.h>
#endif

#include "engine/nn/network.h"
#include "models/registry.h"
#include "tests/support/tested_backends.h"

namespace {

using namespace sculpt;

constexpr int64_t kBatch = 3;

NetworkSpec small_network(const std::string& model) {
  models::ModelOptions options;
  options.name = model;
  options.width = 0.25;
  NetworkSpec spec;
  spec.image = {3, 8, 8};
  spec.model = models::make_model(options, spec.classes);
  return spec;
}

/// Counts the batch norms of a network, and those that receive sums in training.
struct Counts {
  int all = 0;
  int given = 0;
};

Counts batch_norms(Network& network) {
  Counts counts;
  for (const auto& node : network.graph().nodes()) {
    if (node->info.op != "batch_norm") continue;
    ++counts.all;
    if (network.graph().replay().sums(node->inputs[0]) != nullptr) ++counts.given;
  }
  return counts;
}

void run_step(Network& network, Mode mode) {
  const std::vector<float> images(static_cast<size_t>(kBatch * network.spec().image.count()), 0.5f);
  network.initialise(1);
  network.load_values(images.data(), kBatch);
  network.graph().forward(mode, kBatch);
  if (mode != Mode::eval) network.graph().backward();
}

#if defined(SCULPT_CUDA_ON_HOST)
/// Counts the launches of a kernel while body() runs.
template <class Body>
size_t launches(const char* kernel, const Body& body) {
  const size_t before = cuda_on_host::launches_of(kernel);
  body();
  return cuda_on_host::launches_of(kernel) - before;
}
#endif

}  // namespace

TEST_CASE("fusion: every batch norm of a ResNet is given its sums by the convolution before it") {
  Network network(small_network("resnet20"), *test::tested_backends().front(), kBatch);
  const Counts in_training = batch_norms(network);
  CHECK(in_training.all == 21);
  CHECK(in_training.given == in_training.all);
#if defined(SCULPT_CUDA_ON_HOST)
  auto train = [&] { run_step(network, Mode::train); };
  CHECK(launches("sum_values", train) == 0);
  CHECK(launches("finish_statistics", train) == 21);
#endif
  run_step(network, Mode::eval);
  CHECK(batch_norms(network).given == 0);
}

TEST_CASE("fusion: batch norms behind depthwise convolutions read their input") {
  Network network(small_network("mobilenet_v1"), *test::tested_backends().front(), kBatch);
  const Counts in_training = batch_norms(network);
  const int depthwise = 13;
  CHECK(in_training.all == 27);
  CHECK(in_training.given == in_training.all - depthwise);
#if defined(SCULPT_CUDA_ON_HOST)
  CHECK(launches("sum_values", [&] { run_step(network, Mode::train); }) == depthwise);
#endif
}
