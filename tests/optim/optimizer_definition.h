#pragma once
// The tests of optimizers share this header: parameters, masks and gradients, and the definitions
// of the optimizers in plain loops.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/random.h"
#include "engine/optim/optimizer.h"
#include "kernels/device/backend.h"

namespace sculpt::testing {

inline constexpr uint64_t kSeed = 11;

inline void add_parameters(const kernels::Backend& backend, ParameterArena& arena) {
  arena.add("conv1.weight", ParameterKind::conv_weight, {5, 3, 3, 3});
  arena.add("bn1.weight", ParameterKind::norm_weight, {5});
  arena.add("bn1.bias", ParameterKind::norm_bias, {5});
  arena.add("conv2.weight", ParameterKind::conv_weight, {7, 5, 3, 3});
  const ParameterId fc = arena.add("fc.weight", ParameterKind::linear_weight, {11, 7});
  arena.add("fc.bias", ParameterKind::bias, {11});
  arena.set_prunable(fc, false);  // HAM changes it, and Sign-In does not
  arena.allocate(backend);
}

template <class T>
void draw_weights(ParameterArena& arena) {
  const RandomStream random(kSeed, Purpose::test);
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_weights<T>()[i] = static_cast<T>(0.3f * random.normal(i));
}

/// Masks about half of the prunable weights, others for each `number`.
inline void draw_masks(ParameterArena& arena, uint64_t number) {
  const RandomStream random(kSeed, Purpose::test, 1000 + number);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        masks[static_cast<size_t>(i)] =
            !p.prunable || random.uniform(static_cast<uint64_t>(i)) < 0.5f;
  });
}

template <class T>
void draw_gradients(ParameterArena& arena, uint64_t step) {
  const RandomStream random(kSeed, Purpose::test, step + 1);
  arena.store_dense();
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_gradients<T>()[i] = static_cast<T>(random.normal(i));
}

/// The definitions of docs/methods.md, with all values in double. Sign-In keeps both factors here,
/// where the optimizer keeps one of them and the product.
struct Definition {
  const OptimOptions o;
  std::vector<double> w, m, v, f, u, average;
  std::vector<bool> split;
  int64_t steps = 0;

  template <class T>
  Definition(const OptimOptions& options, std::span<const T> weights)
      : o(options),
        w(weights.begin(), weights.end()),
        m(w.size()),
        v(w.size()),
        f(w.size()),
        u(w.size()),
        average(w.size()),
        split(w.size(), false) {}

  void forget() {
    steps = 0;
    std::ranges::fill(m, 0);
    std::ranges::fill(v, 0);
    std::ranges::fill(average, 0);
    balance();
  }
  void balance() { split.assign(w.size(), false); }
  /// A weight whose mask changes starts again at zero.
  void change_masks(std::span<const uint8_t> before, std::span<const uint8_t> after) {
    for (size_t i = 0; i < w.size(); ++i) {
      if (before[i] && after[i]) continue;
      w[i] = m[i] = v[i] = average[i] = 0;
      split[i] = false;
    }
  }

  template <class T>
  void step(const ParameterArena& arena, double lr) {
    ++steps;
    const std::span<const T> grad = arena.gradients<T>();
    double squares = 0;
    for (size_t i = 0; i < w.size(); ++i)
      if (arena.masks()[i]) squares += std::pow(static_cast<double>(grad[i]), 2);
    const double norm = std::sqrt(squares);
    const double scale = o.clip_norm > 0 && norm > o.clip_norm ? o.clip_norm / norm : 1;
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
        if (arena.masks()[i]) step_of(i, p, scale * static_cast<double>(grad[i]), lr);
  }
  void step_of(size_t i, const Parameter& p, double g, double lr) {
    const bool matrix = p.shape.size() >= 2;
    const double decay = matrix || o.decay_norm_and_bias ? o.weight_decay : 0;
    if (o.rule == "adamw")
      adamw(i, g, decay, lr);
    else if (o.sign_in > 0 && matrix && p.prunable)
      factors(i, g, decay, lr);
    else
      w[i] -= lr * momentum(m[i], g + decay * w[i]);
    if (o.ham && matrix) {
      const double sign = w[i] > 0 ? 1 : w[i] < 0 ? -1 : 0;
      w[i] *= std::exp(std::clamp(lr * (-o.ham_alpha * sign * g - o.ham_beta), -5.0, 5.0));
    }
    // The average with bias correction, from its sum without.
    const double n = static_cast<double>(steps);
    if (o.ema > 0) {
      const double sum = average[i] * (1 - std::pow(o.ema, n - 1));
      average[i] = (o.ema * sum + (1 - o.ema) * w[i]) / (1 - std::pow(o.ema, n));
    }
  }
  double momentum(double& state, double g) const {
    state = o.momentum * state + g;
    return o.nesterov ? g + o.momentum * state : state;
  }
  void adamw(size_t i, double g, double decay, double lr) {
    const auto n = static_cast<double>(steps);
    m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
    v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
    const double mean = m[i] / (1 - std::pow(o.beta1, n));
    const double square = v[i] / (1 - std::pow(o.beta2, n));
    w[i] = (1 - lr * decay) * w[i] - lr * mean / (std::sqrt(square) + o.epsilon);
  }
  void factors(size_t i, double g, double decay, double lr) {
    if (!split[i]) {
      const double b = o.sign_in_beta;
      f[i] = std::sqrt((b + std::sqrt(b * b + 4 * w[i] * w[i])) / 2);
      u[i] = w[i] / f[i];
      split[i] = true;
    }
    const double d = g + decay * w[i], of_u = d * f[i], of_f = d * u[i];
    u[i] -= lr * momentum(m[i], of_u);
    f[i] -= lr * momentum(v[i], of_f);
    w[i] = f[i] * u[i];
  }
};

}  // namespace sculpt::testing
