#pragma once
// A small model and random images for tests of networks.

#include <cmath>
#include <doctest/doctest.h>
#include <span>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "engine/nn/network.h"
#include "models/registry.h"

namespace sculpt::testing {

inline const Normalization kNormalization{{0.5f, 0.4f, 0.6f}, {0.2f, 0.3f, 0.25f}};

/// Returns a model of a quarter of its usual width, with 7 classes. LeNet has dropout.
inline NetworkSpec small_spec(double smoothing = 0, const std::string& model = "resnet20") {
  models::ModelOptions options;
  options.name = model;
  options.dropout = model == "lenet" ? 0.3 : 0;
  options.width = 0.25;
  NetworkSpec spec;
  spec.model = models::make_model(options, 7);
  spec.image = {3, 16, 16};
  spec.classes = 7;
  spec.label_smoothing = static_cast<float>(smoothing);
  return spec;
}

struct Images {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  explicit Images(int64_t count) {
    const RandomStream stream(3, Purpose::test);
    for (int64_t i = 0; i < count * 3 * 16 * 16; ++i)
      pixels.push_back(static_cast<uint8_t>(stream.word(static_cast<uint64_t>(i))));
    for (int64_t i = 0; i < count; ++i)
      labels.push_back(static_cast<int32_t>(i % 7));
  }
  Batch first(int64_t count) const { return {pixels.data(), labels.data(), count}; }
};

/// Removes about half of the prunable weights, the same on all ranks.
inline void mask_half(Network& network) {
  const RandomStream stream(8, Purpose::test);
  network.parameters().edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : network.parameters().parameters())
      if (p.prunable)
        for (int64_t i = p.offset; i < p.offset + p.count; ++i)
          masks[static_cast<size_t>(i)] = stream.word(static_cast<uint64_t>(i)) % 2;
  });
}

/// Returns the gradients of kept weights, and 0 for masked weights, whose gradients are not
/// defined. The arena becomes dense.
template <class T>
std::vector<double> kept_gradients(ParameterArena& parameters) {
  parameters.store_dense();
  std::vector<double> kept;
  const auto gradients = parameters.gradients<T>();
  for (size_t i = 0; i < gradients.size(); ++i)
    kept.push_back(parameters.masks()[i] != 0 ? static_cast<double>(gradients[i]) : 0);
  return kept;
}

/// Returns the distance of two arrays of the same size, relative to the length of the second;
/// without that if the second is zero.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double apart = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    apart += (a[i] - b[i]) * (a[i] - b[i]);
    length += b[i] * b[i];
  }
  return std::sqrt(length > 0 ? apart / length : apart);
}

}  // namespace sculpt::testing
