// The product with the Hessian is compared with differences of gradients in double. The steps are
// too short to change an activation pattern.

#include "engine/nn/hessian_product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <stdexcept>

#include "engine/core/error.h"
#include "kernels/device/backend.h"
#include "tests/support/comparison.h"
#include "tests/support/scored_networks.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

constexpr int64_t kMaxBatch = 4;

/// A network with every op that has a kink or a gate: ReLU alone, behind batch norm and behind a
/// sum, max pooling with windows that overlap, and dropout.
NetworkSpec kinked_spec() {
  NetworkSpec spec = four_layer_spec();
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 6), {.relu = true});
    const Value shortcut = b.conv("shortcut", x, 6, {.kernel = 1});
    x = b.batch_norm("bn2", b.conv("conv2", x, 6), {.relu = true, .residual = shortcut});
    x = b.relu(b.conv("conv3", b.max_pool(x, 3, 2, 1), 7));
    x = b.dropout(b.flatten(x), 0.5);
    return b.linear("fc2", b.relu(b.linear("fc1", x, 11)), 3);
  };
  spec.label_smoothing = 0.1f;
  return spec;
}

MeanLoss loss_of(Network& network, RandomBatches& batches, Mode mode) {
  return {network, 2, [&batches](int64_t index) { return batches(index); }, batches.normalization,
          mode};
}

void mask_some(ParameterArena& arena, uint64_t seed) {
  const RandomStream random(seed, Purpose::test, 77);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i)
        if (random.below(static_cast<uint64_t>(i), 3) == 0) masks[static_cast<size_t>(i)] = 0;
  });
}

/// Returns random numbers, for masked weights, too.
std::vector<double> random_direction(int64_t count, uint64_t seed) {
  const RandomStream random(seed, Purpose::test, 78);
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = double{random.normal(i)};
  return values;
}

Buffer on_backend(const std::vector<double>& values, const ParameterArena& parameters) {
  Buffer buffer = zeroed_scores(parameters);
  const kernels::Backend& backend = parameters.backend();
  if (backend.memory)
    backend.memory->copy_in(buffer.data(), values.data(), buffer.bytes());
  else
    std::memcpy(buffer.data(), values.data(), buffer.bytes());
  return buffer;
}

std::vector<double> product(const MeanLoss& loss, const std::vector<double>& direction) {
  const ParameterArena& parameters = loss.network.parameters();
  return on_host(hessian_product(loss, on_backend(direction, parameters)), parameters.backend());
}

std::vector<double> gradient_at(const MeanLoss& loss) {
  const ParameterArena& parameters = loss.network.parameters();
  Buffer sum = zeroed_scores(parameters);
  add_mean_gradient(loss, 1, sum);
  return on_host(sum, parameters.backend());
}

/// (g(w + h v) - g(w - h v)) / 2h on the reference backend, v being 0 where masked.
std::vector<double> difference_quotient(const MeanLoss& loss, const std::vector<double>& direction,
                                        double h) {
  ParameterArena& arena = loss.network.parameters();
  const auto weights = arena.weights<double>();
  const std::vector<double> origin(weights.begin(), weights.end());
  std::vector<double> ends[2];
  for (const int side : {0, 1}) {
    size_t k = 0;
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i, ++k) {
        const auto at = static_cast<size_t>(i);
        const double v = arena.masks()[at] ? direction[k] : 0;
        arena.edit_weights<double>()[at] = origin[at] + (side == 0 ? h : -h) * v;
      }
    ends[side] = gradient_at(loss);
  }
  std::ranges::copy(origin, arena.edit_weights<double>().begin());
  for (size_t k = 0; k < ends[0].size(); ++k)
    ends[0][k] = (ends[0][k] - ends[1][k]) / (2 * h);
  return ends[0];
}

/// Returns the whole state of a network as bytes.
std::vector<std::byte> memory_of(Network& network) {
  ParameterArena& arena = network.parameters();
  std::vector<std::byte> all;
  const auto add = [&](auto values) {
    const auto bytes = std::as_bytes(values);
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  if (arena.element_bytes() == sizeof(double)) {
    add(arena.weights<double>());
    add(arena.momentum<double>());
    add(arena.state_values<double>());
  } else {
    add(arena.weights<float>());
    add(arena.momentum<float>());
    add(arena.state_values<float>());
  }
  add(arena.masks());
  add(std::span(&arena.batches_tracked, 1));
  return all;
}

}  // namespace

TEST_CASE(
    "hessian product: agrees with differences of gradients, masked and with both statistics") {
  const OneThread one_thread;
  for (const Mode mode : {Mode::train, Mode::frozen}) {
    CAPTURE(static_cast<int>(mode));
    Network network(kinked_spec(), kernels::reference_backend(), kMaxBatch);
    network.initialise(31);
    mask_some(network.parameters(), 31);
    RandomBatches batches(network.spec(), 6, 31);
    const MeanLoss loss = loss_of(network, batches, mode);
    const auto direction = random_direction(network.parameters().prunable_count(), 31);
    const auto expected = difference_quotient(loss, direction, 1e-7);
    const auto actual = product(loss, direction);
    CHECK(relative_error(actual, expected) < 1e-5);
    const auto mask = prunable_mask(network.parameters());
    for (size_t i = 0; i < mask.size(); ++i)
      if (!mask[i]) REQUIRE(actual[i] == 0);

    // The product in float uses a step that crosses kinks. A plain difference with a step of that
    // length is wrong.
    const double length = std::sqrt(static_cast<double>(direction.size()));
    double weight_norm = 0;
    for (const double w : network.parameters().weights<double>())
      weight_norm += w * w;
    const double crossing = 0.005 * std::sqrt(weight_norm) / length;
    CHECK(relative_error(difference_quotient(loss, direction, crossing), expected) > 0.02);
    for (const kernels::Backend* backend : test::tested_backends()) {
      CAPTURE(backend->name);
      const auto small = network.rebuild(*backend, kMaxBatch);
      CHECK(relative_error(product(loss_of(*small, batches, mode), direction), expected) < 2e-3);
    }
  }
}

TEST_CASE("hessian product: is linear in the direction, of whatever length, and symmetric") {
  Network network(kinked_spec(), *test::tested_backends().front(), kMaxBatch);
  network.initialise(32);
  RandomBatches batches(network.spec(), 6, 32);
  const MeanLoss loss = loss_of(network, batches, Mode::train);
  const int64_t count = network.parameters().prunable_count();
  const auto u = random_direction(count, 1), v = random_direction(count, 2);
  const auto hu = product(loss, u), hv = product(loss, v);
  double uhv = 0, vhu = 0, size = 0;
  for (size_t i = 0; i < u.size(); ++i) {
    uhv += u[i] * hv[i];
    vhu += v[i] * hu[i];
    size += std::abs(u[i] * hv[i]);
  }
  CHECK(std::abs(uhv - vhu) < 1e-3 * size);
  for (const double factor : {1e-12, -3e10}) {
    auto scaled = u;
    for (double& value : scaled)
      value *= factor;
    auto expected = hu;
    for (double& value : expected)
      value *= factor;
    CHECK(relative_error(product(loss, scaled), expected) < 1e-3);
  }
  CHECK(product(loss, std::vector<double>(u.size())) == std::vector<double>(u.size()));
}

TEST_CASE("hessian product: leaves the network as it was, after an exception too") {
  for (const kernels::Backend* backend :
       {&kernels::reference_backend(), test::tested_backends().front()}) {
    CAPTURE(backend->name);
    Network network(kinked_spec(), *backend, kMaxBatch);
    network.initialise(33);
    mask_some(network.parameters(), 33);
    network.parameters().batches_tracked = 3;
    RandomBatches batches(network.spec(), 6, 33);
    MeanLoss loss = loss_of(network, batches, Mode::train);
    const auto direction = random_direction(network.parameters().prunable_count(), 33);
    const auto gradient = gradient_at(loss);
    const auto before = memory_of(network);

    const auto expected = product(loss, direction);
    CHECK(memory_of(network) == before);
    CHECK(gradient_at(loss) == gradient);  // no pattern is held any longer

    loss.batch = [&](int64_t index) -> Batch {
      if (index == 1) throw std::runtime_error("no second batch");
      return batches(index);
    };
    CHECK_THROWS_WITH(product(loss, direction), "no second batch");
    CHECK(memory_of(network) == before);
    CHECK(network.graph().settings().dropout);
    loss.batch = [&](int64_t index) { return batches(index); };
    CHECK(gradient_at(loss) == gradient);
    CHECK(product(loss, direction) == expected);
  }
}

TEST_CASE("hessian product: several directions together give the bits of each alone") {
  for (const Mode mode : {Mode::train, Mode::frozen}) {
    Network network(kinked_spec(), *test::tested_backends().front(), kMaxBatch);
    network.initialise(34);
    mask_some(network.parameters(), 34);
    RandomBatches batches(network.spec(), 6, 34);
    const MeanLoss loss = loss_of(network, batches, mode);
    const int64_t count = network.parameters().prunable_count();
    std::vector<Buffer> directions;
    for (const uint64_t seed : {1, 2, 3})
      directions.push_back(on_backend(random_direction(count, seed), network.parameters()));
    directions.push_back(zeroed_scores(network.parameters()));
    const std::vector<Buffer> together = hessian_products(loss, directions);
    REQUIRE(together.size() == 4);
    for (size_t i = 0; i < 4; ++i) {
      const kernels::Backend& backend = network.parameters().backend();
      CHECK(on_host(together[i], backend) ==
            on_host(hessian_product(loss, directions[i]), backend));
    }
    CHECK(hessian_products(loss, {}).empty());
  }
}

namespace {

/// A copy of its input that throws in the forward pass in which `left` becomes 0.
class Fuse final : public Node {
 public:
  Fuse(Value x, int& left) : Node(NodeInfo{"fuse", "fuse", -1, 0}, {x}), left_(left) {}
  void prepare(const Graph& graph) override {
    kernels_ = &graph.backend().elementwise;
    shape_ = graph.shape(output);
  }
  void forward(const Replay& r) override {
    if (--left_ == 0) throw std::runtime_error("the fuse has blown");
    kernels_->pass_through(r.data(output), r.data(inputs[0]), shape_, kernels::GradWrite::overwrite,
                           r.launch);
  }
  void backward(const Replay& r) override {
    kernels_->pass_through(r.grad(inputs[0]), r.grad(output), shape_, grad_write[0], r.launch);
  }

 private:
  int& left_;
  const kernels::ElementwiseKernels* kernels_ = nullptr;
  kernels::ActivationShape shape_;
};

}  // namespace

TEST_CASE("hessian product: an error while the weights are away puts them back") {
  int left = -1;
  NetworkSpec spec = kinked_spec();
  spec.model = [&left](Builder& b, Value x) {
    x = b.flatten(b.batch_norm("bn1", b.conv("conv1", x, 6), {.relu = true}));
    x = b.graph().add(std::make_unique<Fuse>(x, left), b.channels(x), 1, 1);
    return b.linear("fc", x, 3);
  };
  Network network(spec, kernels::reference_backend(), kMaxBatch);
  network.initialise(34);
  RandomBatches batches(network.spec(), 6, 34);
  const MeanLoss loss = loss_of(network, batches, Mode::train);
  auto direction = random_direction(network.parameters().prunable_count(), 34);
  const auto before = memory_of(network);
  direction[5] = NAN;
  CHECK_THROWS_WITH_AS(product(loss, direction), doctest::Contains("nan"), Error);
  CHECK(memory_of(network) == before);

  // A piece takes three forward passes: one that records the patterns, and one on each side of it.
  direction[5] = 1;
  const auto expected = product(loss, direction);
  for (const int pass : {1, 2, 3, 5, 6}) {
    CAPTURE(pass);
    left = pass;
    CHECK_THROWS_WITH(product(loss, direction), "the fuse has blown");
    CHECK(memory_of(network) == before);
    CHECK(product(loss, direction) == expected);
  }

  std::ranges::fill(network.parameters().edit_weights<double>(), 0.0);
  CHECK_THROWS_WITH_AS(product(loss, direction), doctest::Contains("norm of the weights is 0"),
                       Error);
}
