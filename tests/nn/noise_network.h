#pragma once
// A network on one batch of noise, 7 classes.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "engine/nn/network.h"
#include "models/registry.h"

namespace sculpt::testing {

class NoiseNetwork {
 public:
  NoiseNetwork(const std::string& model, int32_t batch, double width = 0.25, int64_t pixels = 16,
               const KernelSettings& kernels = {},
               const kernels::Backend& backend = kernels::cpu_backend())
      : batch_(batch), network_(spec(model, width, pixels), backend, batch, {.layers = kernels}) {
    network_.initialise(5);
    const RandomStream stream(3, Purpose::test);
    for (int64_t i = 0; i < batch * network_.spec().image.count(); ++i)
      pixels_.push_back(static_cast<uint8_t>(stream.word(static_cast<uint64_t>(i))));
    for (int32_t i = 0; i < batch; ++i)
      labels_.push_back(i % 7);
  }

  ParameterArena& parameters() { return network_.parameters(); }
  /// The parameters in the dense layout, in which whole arrays can be looked at.
  ParameterArena& dense_parameters() {
    parameters().store_dense();
    return parameters();
  }

  /// Masks about 1 - density of the prunable weights; 1: none.
  void mask(double density, uint64_t seed) {
    const RandomStream stream(seed, Purpose::test);
    parameters().edit_masks([&](std::span<uint8_t> masks) {
      for (const Parameter& p : parameters().parameters())
        for (int64_t i = p.offset; i < p.offset + p.count; ++i)
          masks[static_cast<size_t>(i)] =
              !p.prunable || stream.uniform(static_cast<uint64_t>(i)) < density ? 1 : 0;
    });
  }

 protected:
  void load(Network& network, const StepPart& part = {}) {
    const Normalization normalization{{0.5f, 0.4f, 0.6f}, {0.2f, 0.3f, 0.25f}};
    network.load({pixels_.data(), labels_.data(), batch_}, normalization, part);
  }

  int32_t batch_;
  Network network_;

 private:
  static NetworkSpec spec(const std::string& model, double width, int64_t pixels) {
    models::ModelOptions options;
    options.name = model;
    options.width = width;
    NetworkSpec spec;
    spec.model = models::make_model(options, 7);
    spec.image = {3, pixels, pixels};
    spec.classes = 7;
    return spec;
  }

  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_;
};

}  // namespace sculpt::testing
