#pragma once
// A second optimizer for tests, written against optim/optimizer.h alone.

#include <cmath>
#include <memory>

#include "engine/optim/optimizer.h"

namespace sculpt::testing {

/// Adam (Kingma and Ba, 2015) without bias correction, in loops over the host's arrays. It keeps
/// two state arrays. A step leaves masked elements alone, so that whoever masks an element has to
/// set it to +0.
class PlainAdam : public Optimizer {
 public:
  explicit PlainAdam(ParameterArena& arena) : Optimizer(arena, {"first_moment", "second_moment"}) {}

  void begin_step(double lr) override { lr_ = static_cast<float>(lr); }
  void step() override {
    ParameterArena& arena = parameters();
    arena.store_dense();
    const auto weights = arena.edit_weights<float>();
    const auto gradients = arena.gradients<float>();
    const auto first = arena.edit_optimizer_values<float>(array(0));
    const auto second = arena.edit_optimizer_values<float>(array(1));
    const auto masks = arena.masks();
    for (size_t i = 0; i < weights.size(); ++i) {
      if (masks[i] == 0) continue;
      first[i] = 0.9f * first[i] + 0.1f * gradients[i];
      second[i] = 0.99f * second[i] + 0.01f * gradients[i] * gradients[i];
      weights[i] -= lr_ * first[i] / (std::sqrt(second[i]) + 1e-4f);
    }
  }

 private:
  float lr_ = 0;
};

inline std::unique_ptr<Optimizer> plain_adam(ParameterArena& arena, const OptimOptions&) {
  return std::make_unique<PlainAdam>(arena);
}

}  // namespace sculpt::testing
