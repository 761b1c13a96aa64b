#include "engine/sparse/allocation.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <functional>
#include <numeric>

#include "engine/core/error.h"
#include "engine/core/random.h"

using namespace sculpt;

namespace {

PrunableLayer layer_of(std::vector<int64_t> shape) {
  PrunableLayer layer;
  layer.shape = std::move(shape);
  layer.count =
      std::accumulate(layer.shape.begin(), layer.shape.end(), int64_t{1}, std::multiplies<>());
  layer.present = layer.count;
  layer.name = "layer";
  return layer;
}

int64_t present_in(const std::vector<PrunableLayer>& layers) {
  int64_t sum = 0;
  for (const auto& layer : layers)
    sum += layer.present;
  return sum;
}

/// Convolutions and linear layers of very different sizes; some already pruned.
std::vector<PrunableLayer> random_layers(uint64_t seed) {
  const RandomStream random(seed, Purpose::test);
  uint64_t draws = 0;
  const auto below = [&](uint64_t n) { return static_cast<int64_t>(random.below(draws++, n)); };
  std::vector<PrunableLayer> layers;
  for (int64_t l = below(12) + 1; l > 0; --l) {
    const int64_t kernel = below(2) * 2 + 1;
    layers.push_back(below(4) == 0 ? layer_of({below(100) + 1, below(100) + 1})
                                   : layer_of({below(70) + 1, below(70) + 1, kernel, kernel}));
    if (below(2) == 0)
      layers.back().present = below(static_cast<uint64_t>(layers.back().count) + 1);
  }
  return layers;
}

/// Computes the allocation by the definition, with eps from a bisection.
std::vector<double> quotas_by_bisection(const std::vector<double>& shares,
                                        const std::vector<PrunableLayer>& layers, int64_t kept) {
  double low = 0, high = 1e12;
  std::vector<double> quota(layers.size());
  for (int i = 0; i < 300; ++i) {
    const double eps = (low + high) / 2;
    double sum = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      quota[l] = std::min(static_cast<double>(layers[l].present), eps * shares[l]);
      sum += quota[l];
    }
    (sum < static_cast<double>(kept) ? low : high) = eps;
  }
  return quota;
}

double share_by_definition(std::string_view name, const PrunableLayer& layer) {
  const auto& s = layer.shape;
  if (name == "uniform") return static_cast<double>(layer.count);
  if (name == "balanced") return 1;
  // ERK: density eps * (Cin + Cout + kh + kw) / (Cin * Cout * kh * kw), times the weights.
  return static_cast<double>(s.size() == 4 ? s[0] + s[1] + s[2] + s[3] : s[0] + s[1]);
}

}  // namespace

TEST_CASE(
    "allocation: allocations are exact in sum and within one of the definition, for random "
    "networks") {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const auto layers = random_layers(seed);
    const int64_t present = present_in(layers);
    const RandomStream random(seed, Purpose::test, 1);
    for (uint64_t draw = 0; draw < 8; ++draw) {
      const auto kept =
          static_cast<int64_t>(random.below(draw, static_cast<uint64_t>(present) + 1));
      for (const Allocation& allocation : allocations()) {
        if (!allocation.share) continue;
        std::vector<double> shares;
        for (const auto& layer : layers)
          shares.push_back(share_by_definition(allocation.name, layer));
        const auto counts = allocate(allocation, layers, kept);
        const auto quota = quotas_by_bisection(shares, layers, kept);
        bool right = std::accumulate(counts.begin(), counts.end(), int64_t{0}) == kept;
        for (size_t l = 0; l < layers.size(); ++l)
          right = right && counts[l] >= 0 && counts[l] <= layers[l].present &&
                  std::abs(static_cast<double>(counts[l]) - quota[l]) < 1 + 1e-6;
        if (!right) {
          CAPTURE(allocation.name);
          CAPTURE(seed);
          CAPTURE(kept);
          CHECK(right);
        }
      }
    }
  }
}

TEST_CASE("allocation: rounding is by largest remainder, ties to the earlier layer") {
  // Quotas 2.5, 2.5, 5: one unit left for two equal remainders.
  const std::vector<PrunableLayer> layers = {layer_of({5, 1}), layer_of({5, 1}), layer_of({10, 1})};
  CHECK(allocate(find_allocation("uniform"), layers, 10) == std::vector<int64_t>{3, 2, 5});
  // Quotas 0.75, 0.75, 1.5 and 1.25, 1.25, 2.5.
  CHECK(allocate(find_allocation("uniform"), layers, 3) == std::vector<int64_t>{1, 1, 1});
  CHECK(allocate(find_allocation("uniform"), layers, 5) == std::vector<int64_t>{1, 1, 3});
}

TEST_CASE("allocation: balanced fills small layers and shares the rest") {
  const std::vector<PrunableLayer> layers = {layer_of({10, 1}), layer_of({100, 1}),
                                             layer_of({40, 1}), layer_of({1000, 1})};
  CHECK(allocate(find_allocation("balanced"), layers, 160) == std::vector<int64_t>{10, 55, 40, 55});
  CHECK(allocate(find_allocation("balanced"), layers, 1150) ==
        std::vector<int64_t>{10, 100, 40, 1000});
  CHECK(allocate(find_allocation("balanced"), layers, 0) == std::vector<int64_t>{0, 0, 0, 0});
}

TEST_CASE("allocation: erk on a network worked out by hand") {
  // Shares 3+16+3+3 = 25, 16+16+3+3 = 38, 16+10 = 26 of 89; the first layer has 432 weights.
  const std::vector<PrunableLayer> layers = {layer_of({16, 3, 3, 3}), layer_of({16, 16, 3, 3}),
                                             layer_of({10, 16})};
  CHECK(allocate(find_allocation("erk"), layers, 89) == std::vector<int64_t>{25, 38, 26});
  CHECK(allocate(find_allocation("erk"), layers, 445) == std::vector<int64_t>{125, 190, 130});
  // 890 would give the classifier 260 of its 160 weights: it becomes dense, 730 are shared 25 : 38.
  CHECK(allocate(find_allocation("erk"), layers, 890) == std::vector<int64_t>{290, 440, 160});
}

TEST_CASE("allocation: a layer keeps no more than it has now") {
  std::vector<PrunableLayer> layers = {layer_of({100, 1}), layer_of({100, 1}), layer_of({100, 1})};
  layers[1].present = 20;
  CHECK(allocate(find_allocation("uniform"), layers, 150) == std::vector<int64_t>{65, 20, 65});
  CHECK_THROWS_WITH_AS(allocate(find_allocation("uniform"), layers, 221),
                       doctest::Contains("only 220"), Error);
}

TEST_CASE("allocation: counts are rounded densities") {
  CHECK(kept_for_density(0.1, 270896) == 27090);
  CHECK(kept_for_density(0.05, 10) == 1);
  CHECK(kept_for_density(1, 123) == 123);
  CHECK(kept_for_density(1e-9, 123) == 0);
  CHECK_THROWS_WITH_AS(find_allocation("erks"), doctest::Contains("balanced"), Error);
}
