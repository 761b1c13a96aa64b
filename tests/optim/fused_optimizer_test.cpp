// Every form of the fused optimizers over 50 steps of a cycle, against its definition in plain
// loops in double, while masks change and layouts are dense or packed.
#include <doctest/doctest.h>
#include <map>
#include <string>

#include "engine/optim/averaged_weights.h"
#include "tests/optim/optimizer_definition.h"
#include "tests/support/comparison.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::tested_backends;

namespace {

template <class T>
double worst_difference(std::span<const T> found, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::max(
        worst, std::abs(static_cast<double>(found[i]) - expected[i]) / (1 + std::abs(expected[i])));
  return worst;
}

/// 50 steps in epochs of 5. Masks change after steps 10, 20, ..., a cycle ends after step 30.
template <class T>
void compare(const kernels::Backend& backend, const OptimOptions& o, double tolerance,
             bool packed) {
  ParameterArena arena;
  add_parameters(backend, arena);
  draw_weights<T>(arena);
  draw_masks(arena, 0);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(arena, o);
  Definition expected(o, arena.weights<T>());
  int64_t not_zero = 0;
  double worst = 0, worst_average = 0;
  for (int64_t step = 0; step < 50; ++step) {
    if (step == 0 || step == 30) {
      optimizer->reset();
      expected.forget();
    }
    draw_gradients<T>(arena, static_cast<uint64_t>(step));
    const double lr = 0.02 / (1 + static_cast<double>(step % 7));
    if (packed && step % 8 != 3) arena.store_packed(std::vector<ParameterId>{0, 3});
    optimizer->step(lr);
    arena.store_dense();
    expected.step<T>(arena, lr);
    worst = std::max(worst, worst_difference(arena.weights<T>(), expected.w));
    if (o.ema > 0) {
      REQUIRE(optimizer->has_average());
      const AveragedWeights averaged(*optimizer);
      worst_average =
          std::max(worst_average, worst_difference(arena.weights<T>(), expected.average));
    }
    for (size_t i = 0; i < expected.w.size(); ++i) {
      if (arena.masks()[i]) continue;
      not_zero += !is_plus_zero(static_cast<double>(arena.weights<T>()[i]));
      for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
        not_zero += !is_plus_zero(static_cast<double>(arena.optimizer_values<T>(id)[i]));
    }
    if (step % 5 == 4) {
      optimizer->end_epoch();
      if (o.sign_in > 0 && (step % 30 / 5 + 1) % o.sign_in == 0) expected.balance();
    }
    if (step == 29) {
      optimizer->end_cycle();
      if (o.ema > 0) expected.w = expected.average;
      CHECK(worst_difference(arena.weights<T>(), expected.w) < tolerance);
    }
    if (step % 10 == 9) {
      const std::vector<uint8_t> before(arena.masks().begin(), arena.masks().end());
      draw_masks(arena, static_cast<uint64_t>(step));
      expected.change_masks(before, arena.masks());
    }
  }
  CHECK(worst < tolerance);
  CHECK(worst_average < tolerance);
  CHECK(not_zero == 0);
}

std::map<std::string, OptimOptions> forms() {
  OptimOptions sgd;
  sgd.weight_decay = 0.05;
  sgd.ham_alpha = 2;
  sgd.ham_beta = 0.5;
  std::map<std::string, OptimOptions> rules = {{"sgd", sgd}, {"nesterov", sgd}, {"adamw", sgd}};
  rules["nesterov"].nesterov = true;
  rules["adamw"].rule = "adamw";
  rules["adamw"].beta2 = 0.99;
  rules["adamw"].epsilon = 1e-3;
  std::map<std::string, OptimOptions> all = rules;
  for (const auto& [name, options] : rules) {
    const auto add = [&](const std::string& what, const auto& change) {
      OptimOptions changed = options;
      change(changed);
      all[name + ", " + what] = changed;
    };
    const bool is_sgd = options.rule == "sgd";
    add("ham", [](OptimOptions& o) { o.ham = true; });
    add("clipped", [](OptimOptions& o) { o.clip_norm = 5; });
    add("exempt", [](OptimOptions& o) { o.decay_norm_and_bias = false; });
    add("average", [](OptimOptions& o) { o.ema = 0.9; });
    add("ham, clipped, exempt, average", [](OptimOptions& o) {
      o.ham = true;
      o.clip_norm = 5;
      o.decay_norm_and_bias = false;
      o.ema = 0.7;
    });
    if (!is_sgd) continue;
    add("sign-in", [](OptimOptions& o) { o.sign_in = 1; });
    add("sign-in, clipped, exempt, average", [](OptimOptions& o) {
      o.sign_in = 2;
      o.sign_in_beta = 0.5;
      o.clip_norm = 5;
      o.decay_norm_and_bias = false;
      o.ema = 0.7;
    });
  }
  return all;
}

}  // namespace

TEST_CASE("optimizers: every form equals its definition over 50 steps with changing masks") {
  for (const auto& [name, options] : forms()) {
    CAPTURE(name);
    // The options reach the kernels as floats.
    compare<double>(kernels::reference_backend(), options, 2e-6, false);
    for (const kernels::Backend* backend : tested_backends())
      for (const bool packed : {false, true}) {
        if (packed && backend->memory != nullptr) continue;
        CAPTURE(backend->name);
        CAPTURE(packed);
        compare<float>(*backend, options, 1e-4, packed);
      }
  }
}
