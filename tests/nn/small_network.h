#pragma once
// A small model and random images for tests of networks.

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

}  // namespace sculpt::testing
