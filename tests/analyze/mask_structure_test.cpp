// The structure of random masks against plain counts, and its expectations against many random
// masks.

#include "engine/analyze/mask_structure.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <numeric>
#include <utility>

#include "engine/core/error.h"
#include "tests/analyze/measured_network.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

/// A convolution with two groups between two others, and a linear layer.
NetworkSpec grouped_spec() {
  NetworkSpec spec;
  spec.image = {2, 5, 6};
  spec.classes = 3;
  spec.model = [](Builder& b, Value x) {
    x = b.conv("first", x, 4);
    x = b.conv("grouped", x, 6, {.groups = 2});
    x = b.conv("last", x, 5, {.kernel = 1, .padding = 0});
    return b.linear("fc", b.global_average_pool(x), 3);
  };
  return spec;
}

/// Counts of one layer, made with a loop over all weights and their four indices.
struct PlainCounts {
  std::map<int64_t, int64_t> of_filter, of_input;
  std::map<std::pair<int64_t, int64_t>, int64_t> of_kernel;  ///< by output and input channel
  int64_t kept = 0;
};

PlainCounts count_plainly(const Parameter& p, std::span<const uint8_t> masks, int64_t groups) {
  PlainCounts counts;
  const int64_t outs = p.shape[0], ins = p.shape[1];
  const int64_t height = p.shape.size() == 4 ? p.shape[2] : 1;
  const int64_t width = p.shape.size() == 4 ? p.shape[3] : 1;
  int64_t i = p.offset;
  for (int64_t o = 0; o < outs; ++o)
    for (int64_t c = 0; c < ins; ++c)
      for (int64_t y = 0; y < height; ++y)
        for (int64_t x = 0; x < width; ++x, ++i) {
          const int64_t keep = masks[static_cast<size_t>(i)] != 0 ? 1 : 0;
          const int64_t input = (o * groups / outs) * ins + c;
          counts.of_filter[o] += keep;
          counts.of_input[input] += keep;
          counts.of_kernel[{o, input}] += keep;
          counts.kept += keep;
        }
  return counts;
}

void check_groups(const GroupDensities& densities, const std::map<int64_t, int64_t>& counts,
                  double weights_of_group) {
  std::vector<double> plain;
  int64_t dead = 0;
  for (const auto& [group, kept] : counts) {
    plain.push_back(static_cast<double>(kept) / weights_of_group);
    dead += kept == 0;
  }
  std::ranges::sort(plain);
  const double mean =
      std::accumulate(plain.begin(), plain.end(), 0.0) / static_cast<double>(plain.size());
  double squares = 0;
  for (const double density : plain)
    squares += std::pow(density - mean, 2);
  REQUIRE(densities.sorted.size() == plain.size());
  for (size_t i = 0; i < plain.size(); ++i)
    CHECK(densities.sorted[i] == doctest::Approx(plain[i]));
  CHECK(densities.dead == dead);
  CHECK(densities.deviation ==
        doctest::Approx(std::sqrt(squares / static_cast<double>(plain.size()))));
  CHECK(densities.quantile(0) == doctest::Approx(plain.front()));
  CHECK(densities.quantile(1) == doctest::Approx(plain.back()));
  const double middle = (plain[(plain.size() - 1) / 2] + plain[plain.size() / 2]) / 2;
  CHECK(densities.quantile(0.5) == doctest::Approx(middle));
}

/// Returns a mask that keeps these numbers of weights of each layer, at random.
std::vector<uint8_t> random_mask(const ParameterArena& arena, const std::vector<int64_t>& kept,
                                 uint64_t seed) {
  std::vector<uint8_t> masks(static_cast<size_t>(arena.count()), 1);
  const RandomStream random(seed, Purpose::test, 3);
  size_t layer = 0;
  for (const Parameter& p : arena.parameters()) {
    if (!p.prunable) continue;
    std::vector<std::pair<float, size_t>> order;
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
      order.emplace_back(random.uniform(i), i);
    std::ranges::sort(order);
    for (auto place = static_cast<size_t>(kept[layer]); place < order.size(); ++place)
      masks[order[place].second] = 0;
    ++layer;
  }
  return masks;
}

}  // namespace

TEST_CASE("mask structure: counts and densities are those of plain loops, groups included") {
  const Network network(grouped_spec(), *test::tested_backends().front(), 2);
  const ParameterArena& arena = network.parameters();
  int64_t empty = 0, dead = 0;
  for (const uint64_t seed : {1, 2, 3}) {
    std::vector<uint8_t> masks(static_cast<size_t>(arena.count()), 1);
    const RandomStream random(seed, Purpose::test, 4);
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset);
           p.prunable && i < static_cast<size_t>(p.offset + p.count); ++i)
        masks[i] = random.uniform(i) < 0.12f ? 1 : 0;
    const auto layers = mask_structure(network, masks);
    size_t index = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      CAPTURE(p.name);
      REQUIRE(index < layers.size());
      const LayerStructure& layer = layers[index++];
      const int64_t groups = p.name == "grouped.weight" ? 2 : 1;
      const PlainCounts plain = count_plainly(p, masks, groups);
      CHECK(layer.name == p.name);
      CHECK(layer.count == p.count);
      CHECK(layer.kept == plain.kept);
      CHECK(layer.kernels == std::ssize(plain.of_kernel));
      CHECK(layer.empty_kernels == std::ranges::count_if(plain.of_kernel, [](const auto& kernel) {
              return kernel.second == 0;
            }));
      const auto count = static_cast<double>(p.count);
      check_groups(layer.filters, plain.of_filter,
                   count / static_cast<double>(plain.of_filter.size()));
      check_groups(layer.inputs, plain.of_input,
                   count / static_cast<double>(plain.of_input.size()));
      empty += layer.empty_kernels;
      dead += layer.inputs.dead;
    }
    CHECK(index == layers.size());
    CHECK(index == 4);
  }
  CHECK(empty > 0);
  CHECK(dead > 0);
}

TEST_CASE("mask structure: expectations are the means over many random masks") {
  const Network network(grouped_spec(), *test::tested_backends().front(), 2);
  const ParameterArena& arena = network.parameters();
  // Weights of the layers: 72, 108, 30, 15.
  const std::vector<int64_t> kept = {9, 20, 6, 3};
  constexpr int kMasks = 4000;
  struct Means {
    double filter_variance = 0, input_variance = 0, dead_filters = 0, dead_inputs = 0, empty = 0;
  };
  std::vector<Means> means(kept.size());
  std::vector<LayerStructure> layers;
  for (uint64_t seed = 0; seed < kMasks; ++seed) {
    layers = mask_structure(network, random_mask(arena, kept, seed));
    for (size_t i = 0; i < layers.size(); ++i) {
      means[i].filter_variance += std::pow(layers[i].filters.deviation, 2) / kMasks;
      means[i].input_variance += std::pow(layers[i].inputs.deviation, 2) / kMasks;
      means[i].dead_filters += static_cast<double>(layers[i].filters.dead) / kMasks;
      means[i].dead_inputs += static_cast<double>(layers[i].inputs.dead) / kMasks;
      means[i].empty += static_cast<double>(layers[i].empty_kernels) / kMasks;
    }
  }
  REQUIRE(layers.size() == kept.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    CAPTURE(layers[i].name);
    CHECK(layers[i].kept == kept[i]);
    CHECK(std::pow(layers[i].filters.random_deviation, 2) ==
          doctest::Approx(means[i].filter_variance).epsilon(0.05));
    CHECK(std::pow(layers[i].inputs.random_deviation, 2) ==
          doctest::Approx(means[i].input_variance).epsilon(0.05));
    CHECK(layers[i].filters.random_dead ==
          doctest::Approx(means[i].dead_filters).epsilon(0.05).scale(1));
    CHECK(layers[i].inputs.random_dead ==
          doctest::Approx(means[i].dead_inputs).epsilon(0.05).scale(1));
    CHECK(layers[i].random_empty_kernels == doctest::Approx(means[i].empty).epsilon(0.02));
  }
}

TEST_CASE("mask structure: filters of unequal density, and masks without chance") {
  const Network network(grouped_spec(), *test::tested_backends().front(), 2);
  const ParameterArena& arena = network.parameters();
  std::vector<uint8_t> masks(static_cast<size_t>(arena.count()), 1);
  // The first layer keeps two of its four filters whole.
  std::fill(masks.begin(), masks.begin() + 36, uint8_t{0});
  const auto layers = mask_structure(network, masks);
  CHECK(layers[0].name == "first.weight");
  CHECK(layers[0].filters.dead == 2);
  // Densities 0, 0, 1 and 1 against the hypergeometric deviation of 18 of 72 weights, half kept.
  const double random = std::sqrt(0.5 * 0.5 / 18 * (72 - 18) / 71);
  CHECK(layers[0].filters.spread() == doctest::Approx(0.5 / random));
  CHECK(layers[0].inputs.spread() == doctest::Approx(0));
  CHECK(layers[0].empty_kernels == 4);
  CHECK(std::isnan(layers[1].filters.spread()));  // every mask that keeps everything is the same
  CHECK(chance_of_no_weight(10, 10, 1) == 0);
  CHECK(chance_of_no_weight(10, 0, 10) == 1);
  CHECK(chance_of_no_weight(10, 3, 8) == 0);
  CHECK(chance_of_no_weight(10, 1, 4) == doctest::Approx(0.6));
  CHECK_THROWS_AS(mask_structure(network, std::span(masks).first(5)), Error);
}
