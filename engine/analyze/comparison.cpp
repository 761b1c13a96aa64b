#include "engine/analyze/comparison.h"

#include <cmath>

#include "engine/core/error.h"

namespace sculpt {

double WeightComparison::ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : NAN;
}

double WeightComparison::flipped() const {
  return ratio(flips, kept_both);
}

double WeightComparison::overlap() const {
  return ratio(kept_both, kept_either);
}

double WeightComparison::distance() const {
  return std::sqrt(squared_distance);
}

double WeightComparison::cosine() const {
  const double norms = std::sqrt(squared_norm_a) * std::sqrt(squared_norm_b);
  return norms > 0 ? product / norms : NAN;
}

void WeightComparison::add(const WeightComparison& other) {
  count += other.count;
  kept_a += other.kept_a;
  kept_b += other.kept_b;
  kept_both += other.kept_both;
  kept_either += other.kept_either;
  flips += other.flips;
  zeros += other.zeros;
  squared_distance += other.squared_distance;
  squared_norm_a += other.squared_norm_a;
  squared_norm_b += other.squared_norm_b;
  product += other.product;
}

std::vector<WeightComparison> compare_layers(const ParameterArena& parameters,
                                             const StoredNetwork& a, const StoredNetwork& b) {
  const auto size = static_cast<size_t>(parameters.count());
  for (const StoredNetwork* network : {&a, &b})
    SCULPT_CHECK(network->weights.size() == size && network->masks.size() == size,
                 "{} weights and {} masks for a network of {}", network->weights.size(),
                 network->masks.size(), size);
  std::vector<WeightComparison> layers;
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    WeightComparison layer;
    layer.layer = p.name;
    layer.count = p.count;
    for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i) {
      const double x = a.weights[i], y = b.weights[i];
      const bool in_a = a.masks[i] != 0, in_b = b.masks[i] != 0;
      layer.kept_a += in_a;
      layer.kept_b += in_b;
      layer.kept_both += in_a && in_b;
      layer.kept_either += in_a || in_b;
      if (in_a && in_b) {
        layer.flips += (x < 0 && y > 0) || (x > 0 && y < 0);
        layer.zeros += x == 0 || y == 0;
      }
      layer.squared_distance += (x - y) * (x - y);
      layer.squared_norm_a += x * x;
      layer.squared_norm_b += y * y;
      layer.product += x * y;
    }
    layers.push_back(layer);
  }
  return layers;
}

WeightComparison total(const std::vector<WeightComparison>& layers) {
  WeightComparison all;
  all.layer = "all";
  for (const WeightComparison& layer : layers)
    all.add(layer);
  return all;
}

}  // namespace sculpt
