#include "engine/optim/sgd.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <span>
#include <vector>

#include "engine/core/random.h"
#include "kernels/device/backend.h"
#include "tests/support/comparison.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using sculpt::test::tested_backends;
using sculpt::testing::is_plus_zero;

namespace {

/// Two convolutions and a classifier with odd sizes, random values, about half of the weights
/// masked.
template <class T>
void fill(const kernels::Backend& backend, ParameterArena& arena, uint64_t seed) {
  arena.add("conv1.weight", ParameterKind::conv_weight, {5, 3, 3, 3});
  arena.add("bn1.weight", ParameterKind::norm_weight, {5});
  arena.add("bn1.bias", ParameterKind::norm_bias, {5});
  arena.add("conv2.weight", ParameterKind::conv_weight, {7, 5, 3, 3});
  arena.add("fc.weight", ParameterKind::linear_weight, {11, 7});
  arena.add("fc.bias", ParameterKind::bias, {11});
  arena.allocate(backend);
  const RandomStream random(seed, Purpose::test);
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_weights<T>()[i] = random.normal(i);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        masks[static_cast<size_t>(i)] =
            !p.prunable || random.uniform(static_cast<uint64_t>(i) + 100000) < 0.5f;
  });
}

template <class T>
void draw_gradients(ParameterArena& arena, uint64_t seed, uint64_t step) {
  const RandomStream random(seed, Purpose::test, step + 1);
  arena.store_dense();
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_gradients<T>()[i] = random.normal(i);
}

/// torch.optim.SGD as loops in double, with the mask.
struct NaiveSgd {
  std::vector<double> weight, momentum;

  template <class T>
  explicit NaiveSgd(std::span<const T> weights)
      : weight(weights.begin(), weights.end()), momentum(weight.size()) {}

  template <class T>
  void step(ParameterArena& arena, const OptimOptions& o, double lr) {
    double squares = 0;
    for (size_t i = 0; i < weight.size(); ++i)
      if (arena.masks()[i]) squares += std::pow(static_cast<double>(arena.gradients<T>()[i]), 2);
    const double norm = std::sqrt(squares);
    const double scale = o.clip_norm > 0 && norm > o.clip_norm ? o.clip_norm / norm : 1;
    for (const Parameter& p : arena.parameters()) {
      const bool decays = o.decay_norm_and_bias || p.kind == ParameterKind::conv_weight ||
                          p.kind == ParameterKind::linear_weight;
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        const double g = scale * static_cast<double>(arena.gradients<T>()[i]) +
                         (decays ? o.weight_decay * weight[i] : 0);
        momentum[i] = o.momentum * momentum[i] + g;
        weight[i] -= lr * (o.nesterov ? g + o.momentum * momentum[i] : momentum[i]);
        if (!arena.masks()[i]) weight[i] = momentum[i] = 0;
      }
    }
  }
};

/// Several steps with changing learning rates against NaiveSgd; masked elements must be exactly +0
/// after each of them. The parameters `kept_only` are stored without them, but for one step.
template <class T>
void compare(const kernels::Backend& backend, const OptimOptions& o, double tolerance,
             const std::vector<ParameterId>& kept_only = {}) {
  CAPTURE(backend.name);
  CAPTURE(kept_only.size());
  ParameterArena arena;
  fill<T>(backend, arena, 3);
  NaiveSgd naive(arena.weights<T>());
  Sgd sgd(arena, o);
  for (uint64_t step = 0; step < 5; ++step) {
    draw_gradients<T>(arena, 3, step);
    const double lr = 0.1 / static_cast<double>(step + 1);
    if (step != 2) arena.store_packed(kept_only);
    sgd.step(lr);
    arena.store_dense();
    naive.step<T>(arena, o, lr);
    double worst = 0;
    int64_t not_zero = 0;
    for (size_t i = 0; i < naive.weight.size(); ++i) {
      const double w = arena.weights<T>()[i], m = arena.momentum<T>()[i];
      worst = std::max({worst, std::abs(w - naive.weight[i]), std::abs(m - naive.momentum[i])});
      if (!arena.masks()[i] && !(is_plus_zero(w) && is_plus_zero(m))) ++not_zero;
    }
    CHECK(worst < tolerance);
    CHECK(not_zero == 0);
  }
}

std::vector<OptimOptions> variants() {
  OptimOptions plain;
  plain.weight_decay = 0.01;
  OptimOptions nesterov = plain;
  nesterov.nesterov = true;
  OptimOptions exempt = plain;
  exempt.decay_norm_and_bias = false;
  exempt.weight_decay = 0.5;
  OptimOptions clipped = exempt;
  clipped.clip_norm = 1.5;
  OptimOptions bare = plain;
  bare.momentum = 0;
  bare.weight_decay = 0;
  return {plain, nesterov, exempt, clipped, bare};
}

}  // namespace

TEST_CASE("sgd: SGD equals plain loops in double, with and without every option") {
  for (const OptimOptions& o : variants()) {
    CAPTURE(o.nesterov);
    CAPTURE(o.decay_norm_and_bias);
    CAPTURE(o.clip_norm);
    // The options reach the kernels as floats.
    compare<double>(kernels::reference_backend(), o, 1e-6);
    for (const kernels::Backend* backend : tested_backends())
      for (const std::vector<ParameterId>& kept_only :
           {std::vector<ParameterId>{}, std::vector<ParameterId>{3},
            std::vector<ParameterId>{0, 3, 4}})
        if (kept_only.empty() || backend->memory == nullptr)
          compare<float>(*backend, o, 1e-5, kept_only);
  }
}

TEST_CASE("sgd: one call covers the arena; exempt parameters cost one more per boundary") {
  ParameterArena arena;
  fill<double>(kernels::reference_backend(), arena, 1);
  OptimOptions o;
  CHECK(Sgd(arena, o).segments() == 1);
  o.decay_norm_and_bias = false;
  // conv1 | bn1.weight bn1.bias | conv2 fc.weight | fc.bias
  CHECK(Sgd(arena, o).segments() == 4);
}

TEST_CASE("sgd: clipping scales by the norm of the unmasked gradients") {
  ParameterArena arena;
  fill<double>(kernels::reference_backend(), arena, 1);
  OptimOptions o;
  o.clip_norm = 2;
  Sgd sgd(arena, o);
  const auto gradients = arena.edit_gradients<double>();
  size_t kept = 0, masked = 0;
  while (!arena.masks()[kept])
    ++kept;
  while (arena.masks()[masked])
    ++masked;
  gradients[masked] = 1e6;
  gradients[kept] = 8;
  sgd.step(0.1);
  CHECK(sgd.clip_scale() == doctest::Approx(0.25));
  gradients[kept] = 1;
  sgd.step(0.1);
  CHECK(sgd.clip_scale() == 1);
}

TEST_CASE("sgd: reset() forgets the past, and only that") {
  ParameterArena arena;
  fill<float>(*tested_backends().front(), arena, 5);
  Sgd sgd(arena, OptimOptions());
  draw_gradients<float>(arena, 5, 0);
  sgd.step(0.1);
  const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
  REQUIRE(std::ranges::any_of(arena.momentum(), [](float m) { return m != 0; }));
  sgd.reset();
  for (const float m : arena.momentum())
    REQUIRE(is_plus_zero(m));
  CHECK(std::ranges::equal(weights, arena.weights()));
}
