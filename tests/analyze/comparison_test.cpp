// Comparisons of random networks under random masks with plain loops.

#include "engine/analyze/comparison.h"

#include <cmath>
#include <doctest/doctest.h>
#include <set>

#include "tests/analyze/measured_network.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("comparison: counts, distances and angles are those of plain loops") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const ParameterArena& arena = measured.network.parameters();
  for (const uint64_t seed : {11, 12, 13}) {
    StoredNetwork a = measured.random_values(seed, 0.7);
    StoredNetwork b = measured.random_values(seed + 100, 0.4);
    // Kept weights that are exactly 0 have no sign.
    for (size_t i = 0; i < a.weights.size(); i += 5)
      a.weights[i] = 0;
    for (size_t i = 0; i < b.weights.size(); i += 7)
      b.weights[i] = -0.0f;
    const auto layers = compare_layers(arena, a, b);
    WeightComparison sum;
    size_t index = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      CAPTURE(p.name);
      REQUIRE(index < layers.size());
      const WeightComparison& layer = layers[index++];
      CHECK(layer.layer == p.name);
      std::set<int64_t> in_a, in_b, both, flipped, zeros;
      double distance = 0, ab = 0, aa = 0, bb = 0;
      for (int64_t i = 0; i < p.count; ++i) {
        const auto at = static_cast<size_t>(p.offset + i);
        const double x = a.weights[at], y = b.weights[at];
        if (a.masks[at] != 0) in_a.insert(i);
        if (b.masks[at] != 0) in_b.insert(i);
        if (a.masks[at] != 0 && b.masks[at] != 0) {
          both.insert(i);
          if (x * y < 0) flipped.insert(i);
          if (x * y == 0) zeros.insert(i);
        }
        distance += std::pow(x - y, 2);
        ab += x * y;
        aa += x * x;
        bb += y * y;
      }
      CHECK(layer.count == p.count);
      CHECK(layer.kept_a == std::ssize(in_a));
      CHECK(layer.kept_b == std::ssize(in_b));
      CHECK(layer.kept_both == std::ssize(both));
      const auto either = std::ssize(in_a) + std::ssize(in_b) - std::ssize(both);
      CHECK(layer.kept_either == either);
      CHECK(layer.flips == std::ssize(flipped));
      CHECK(layer.zeros == std::ssize(zeros));
      CHECK(std::ssize(zeros) > 0);
      CHECK(layer.flipped() == doctest::Approx(static_cast<double>(flipped.size()) /
                                               static_cast<double>(both.size())));
      CHECK(layer.overlap() ==
            doctest::Approx(static_cast<double>(both.size()) / static_cast<double>(either)));
      CHECK(layer.distance() == doctest::Approx(std::sqrt(distance)));
      CHECK(layer.cosine() == doctest::Approx(ab / std::sqrt(aa * bb)));
      CHECK(layer.density_a() ==
            doctest::Approx(static_cast<double>(in_a.size()) / static_cast<double>(p.count)));
      sum.count += p.count;
      sum.flips += layer.flips;
      sum.squared_distance += distance;
    }
    CHECK(index == layers.size());
    const WeightComparison all = total(layers);
    CHECK(all.count == arena.prunable_count());
    CHECK(all.flips == sum.flips);
    CHECK(all.distance() == doctest::Approx(std::sqrt(sum.squared_distance)));
  }
}

TEST_CASE("comparison: a network is the same as itself, and the negative of its negative") {
  MeasuredNetwork measured(*test::tested_backends().front());
  const StoredNetwork a = measured.random_values(21, 0.5);
  StoredNetwork negative = a;
  for (float& w : negative.weights)
    w = -w;
  const WeightComparison same = total(compare_layers(measured.network.parameters(), a, a));
  CHECK(same.flips == 0);
  CHECK(same.distance() == 0);
  CHECK(same.cosine() == doctest::Approx(1));
  CHECK(same.overlap() == 1);
  const WeightComparison other = total(compare_layers(measured.network.parameters(), a, negative));
  CHECK(other.flips == other.kept_both - other.zeros);
  CHECK(other.cosine() == doctest::Approx(-1));
  WeightComparison nothing;
  CHECK(std::isnan(nothing.flipped()));
  CHECK(std::isnan(nothing.cosine()));
}
