#pragma once
// The rules that change masks, written from their definitions as plain loops in double, for tests
// that compare the rules of engine/masks with them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "engine/masks/mask_options.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt::testing {

/// Weights, momentum and mask of all parameters, by global index.
struct PlainNetwork {
  struct Layer {
    size_t first, count;
  };
  std::vector<Layer> layers;  // the prunable ones
  std::vector<double> weight, momentum;
  std::vector<uint8_t> mask;

  template <class T>
  static PlainNetwork of(ParameterArena& arena) {
    arena.store_dense();
    PlainNetwork plain;
    for (const Parameter& p : arena.parameters())
      if (p.prunable)
        plain.layers.push_back({static_cast<size_t>(p.offset), static_cast<size_t>(p.count)});
    const auto weights = arena.weights<T>(), momentum = arena.momentum<T>();
    plain.weight.assign(weights.begin(), weights.end());
    plain.momentum.assign(momentum.begin(), momentum.end());
    plain.mask.assign(arena.masks().begin(), arena.masks().end());
    return plain;
  }

  size_t prunable() const {
    size_t count = 0;
    for (const Layer& layer : layers)
      count += layer.count;
    return count;
  }
  size_t kept() const {
    size_t count = 0;
    for (const Layer& layer : layers)
      for (size_t i = layer.first; i < layer.first + layer.count; ++i)
        count += mask[i];
    return count;
  }
  double density() const { return static_cast<double>(kept()) / static_cast<double>(prunable()); }
};

/// A rule with all its constants, which a test names itself.
struct PlainRule {
  std::string name;
  int64_t interval = 1;
  double drop = 0;
  double begin = 0, end = 1;                           // fractions of the schedule
  std::vector<int64_t> sparse_at = {}, dense_at = {};  // steps of acdc

  bool prunes_gradually() const { return name == "gmp" || name == "granet"; }

  bool changes(int64_t done, int64_t steps) const {
    if (name == "acdc")
      return std::ranges::count(sparse_at, done) + std::ranges::count(dense_at, done) > 0;
    const auto first = static_cast<int64_t>(std::lround(begin * static_cast<double>(steps)));
    const auto last = static_cast<int64_t>(std::lround(end * static_cast<double>(steps)));
    if (prunes_gradually())
      return done > first && done <= last && ((done - first) % interval == 0 || done == last);
    return done % interval == 0 && static_cast<double>(done) < end * static_cast<double>(steps);
  }

  /// The density after a change of a rule that changes the density.
  double density(int64_t done, int64_t steps, double start, double target) const {
    if (name == "acdc") return std::ranges::count(sparse_at, done) > 0 ? target : 1;
    const double first = std::round(begin * static_cast<double>(steps));
    const double last = std::round(end * static_cast<double>(steps));
    const double tau = (static_cast<double>(done) - first) / (last - first);
    const double from = 1 - start, to = 1 - target;  // sparsities
    return 1 - (from + (to - from) * (1 - (1 - tau) * (1 - tau) * (1 - tau)));
  }

  /// Changes the network after a step for which changes() is true. `step` is the number of the step
  /// since the start of the run, `gradient` has the gradients of all weights.
  void change(PlainNetwork& network, const std::vector<double>& gradient, int64_t done,
              int64_t steps, double start, double target, uint64_t seed, int64_t step) const {
    const std::vector<uint8_t> before = network.mask;
    if (name == "acdc" && std::ranges::count(dense_at, done) > 0) {
      std::ranges::fill(network.mask, uint8_t{1});
      std::ranges::fill(network.momentum, 0.0);
      return;
    }
    if (prunes_gradually() || name == "acdc")
      prune(network, static_cast<size_t>(std::llround(density(done, steps, start, target) *
                                                      static_cast<double>(network.prunable()))));
    const double t = static_cast<double>(done) / static_cast<double>(steps);
    if (name == "granet")
      exchange(network, 0.005 + (drop - 0.005) * (1 + std::cos(std::numbers::pi * t)) / 2,
               absolute(gradient));
    if (name == "rigl" || name == "itop")
      exchange(network, drop / 2 * (1 + std::cos(std::numbers::pi * t / end)), absolute(gradient));
    if (name == "set")
      exchange(network, drop / 2 * (1 + std::cos(std::numbers::pi * t / end)),
               draws(network, seed, step));
    for (size_t i = 0; i < before.size(); ++i)
      if (before[i] == 0 || network.mask[i] == 0) network.weight[i] = network.momentum[i] = 0;
  }

 private:
  static std::vector<double> absolute(std::vector<double> values) {
    for (double& value : values)
      value = std::abs(value);
    return values;
  }

  /// Sorts indices by score, the highest first; equal scores stay in the order of the indices.
  static void sort(std::vector<size_t>& indices, const std::vector<double>& score) {
    std::ranges::stable_sort(indices, [&](size_t a, size_t b) { return score[a] > score[b]; });
  }

  static void prune(PlainNetwork& network, size_t keep) {
    std::vector<size_t> kept;
    for (const PlainNetwork::Layer& layer : network.layers)
      for (size_t i = layer.first; i < layer.first + layer.count; ++i)
        if (network.mask[i] == 1) kept.push_back(i);
    sort(kept, absolute(network.weight));
    for (size_t place = keep; place < kept.size(); ++place)
      network.mask[kept[place]] = 0;
  }

  static void exchange(PlainNetwork& network, double fraction, const std::vector<double>& growth) {
    for (const PlainNetwork::Layer& layer : network.layers) {
      std::vector<size_t> kept, others;
      for (size_t i = layer.first; i < layer.first + layer.count; ++i)
        if (network.mask[i] == 1) kept.push_back(i);
      const auto k = static_cast<size_t>(std::floor(static_cast<double>(kept.size()) * fraction));
      sort(kept, absolute(network.weight));
      for (size_t place = kept.size() - k; place < kept.size(); ++place)
        network.mask[kept[place]] = 0;
      for (size_t i = layer.first; i < layer.first + layer.count; ++i)
        if (network.mask[i] == 0) others.push_back(i);
      sort(others, growth);
      for (size_t place = 0; place < k; ++place)
        network.mask[others[place]] = 1;
    }
  }

  /// SET's random numbers: draw number i of the step belongs to prunable weight i.
  static std::vector<double> draws(const PlainNetwork& network, uint64_t seed, int64_t step) {
    const auto words = RandomStream(seed, Purpose::mask_growth).words(static_cast<uint64_t>(step));
    const uint64_t key = words[0] + (uint64_t{words[1]} << 32);
    std::vector<double> draws(network.weight.size());
    uint64_t number = 0;
    for (const PlainNetwork::Layer& layer : network.layers)
      for (size_t i = layer.first; i < layer.first + layer.count; ++i)
        draws[i] = philox_uniform53(philox4x32_words(key, number++, 0));
    return draws;
  }
};

}  // namespace sculpt::testing
