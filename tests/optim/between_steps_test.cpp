// These tests check what optimizers do between steps (factors are balanced, averages shown, values
// saved), and which settings are refused.
#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "engine/optim/averaged_weights.h"
#include "engine/optim/lr_schedule.h"
#include "tests/optim/optimizer_definition.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::tested_backends;

namespace {

OptimizerArrayId find_array(const ParameterArena& arena, const std::string& name) {
  for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
    if (arena.optimizer_array_name(id) == name) return id;
  FAIL("no array ", name);
  return -1;
}

}  // namespace

TEST_CASE("optimizers: balancing the factors of Sign-In changes no weight") {
  for (const kernels::Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    ParameterArena arena;
    add_parameters(*backend, arena);
    draw_weights<float>(arena);
    OptimOptions options;
    options.sign_in = 2;
    options.weight_decay = 0;
    options.momentum = 0;
    const auto optimizer = make_optimizer(arena, options);
    optimizer->reset();
    const OptimizerArrayId factor = find_array(arena, "factor");
    const auto factors = [&] {
      const std::span<const float> values = arena.optimizer_values<float>(factor);
      return std::vector<float>(values.begin(), values.end());
    };
    for (uint64_t step = 0; step < 4; ++step) {
      draw_gradients<float>(arena, step);
      optimizer->step(0.1);
    }
    const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
    const std::vector<float> trained = factors();
    optimizer->end_epoch();
    CHECK(factors() == trained);  // after two epochs only
    optimizer->end_epoch();
    CHECK(std::ranges::equal(arena.weights(), weights));
    // A step with gradients of zero balances, and changes products by their rounding only.
    std::ranges::fill(arena.edit_gradients<float>(), 0.0f);
    optimizer->step(0.1);
    const std::vector<float> balanced = factors();
    CHECK(balanced != trained);
    double worst = 0, change = 0;
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        change = std::max(change, std::abs(double{arena.weights()[i]} - double{weights[i]}));
        if (!p.prunable) continue;
        const double f = double{balanced[i]}, u = double{weights[i]} / f;
        worst = std::max(worst, std::abs(f * f - u * u - 1));
      }
    CHECK(worst < 1e-5);
    CHECK(change < 1e-6);
  }
}

TEST_CASE("optimizers: the average is absent before the first step, and the weights come back") {
  ParameterArena arena;
  add_parameters(*tested_backends().front(), arena);
  draw_weights<float>(arena);
  OptimOptions options;
  CHECK_FALSE(make_optimizer(arena, options)->has_average());
  options.ema = 0.5;
  const auto optimizer = make_optimizer(arena, options);
  optimizer->reset();
  CHECK_FALSE(optimizer->has_average());
  const auto copy = [&] {
    return std::vector<float>(arena.weights().begin(), arena.weights().end());
  };
  const std::vector<float> initial = copy();
  {
    const AveragedWeights averaged(*optimizer);
    CHECK(copy() == initial);
  }
  optimizer->end_cycle();  // a cycle without steps
  CHECK(copy() == initial);
  draw_gradients<float>(arena, 0);
  optimizer->step(0.1);
  draw_gradients<float>(arena, 1);
  optimizer->step(0.1);
  const std::vector<float> raw = copy();
  {
    const AveragedWeights averaged(*optimizer);
    CHECK(copy() != raw);
  }
  CHECK(copy() == raw);
}

TEST_CASE("optimizers: what they remember is restored, and SGD remembers nothing") {
  const auto values_of = [](const OptimOptions& options) {
    ParameterArena arena;
    add_parameters(kernels::reference_backend(), arena);
    const auto optimizer = make_optimizer(arena, options);
    for (int step = 0; step < 3; ++step)
      optimizer->step(0.1);
    optimizer->end_epoch();
    const OptimizerValues values = optimizer->save();
    const auto second = make_optimizer(arena, options);
    second->restore(values);
    CHECK(second->save() == values);
    return values;
  };
  OptimOptions options;
  CHECK(values_of(options).empty());
  options.sign_in = 4;
  CHECK(values_of(options) == OptimizerValues{{"epochs", "1"}});
  options.ema = 0.5;
  CHECK(values_of(options) == OptimizerValues{{"epochs", "1"}, {"steps", "3"}});
  options = {};
  options.rule = "adamw";
  CHECK(values_of(options) == OptimizerValues{{"steps", "3"}});

  ParameterArena arena;
  add_parameters(kernels::reference_backend(), arena);
  const auto adamw = make_optimizer(arena, options);
  CHECK_THROWS_WITH(adamw->restore({}), doctest::Contains("no value 'steps' of the optimizer"));
  for (const char* text : {"", "-1", "1x", "1.5"})
    CHECK_THROWS_WITH(adamw->restore({{"steps", text}}), doctest::Contains("not a count"));
}

TEST_CASE("optimizers: combinations that cannot work are refused") {
  OptimOptions options;
  options.sign_in = 1;
  CHECK_NOTHROW(validate(options));
  options.ham = true;
  CHECK_THROWS_WITH(validate(options), doctest::Contains("set optim.ham = false"));
  options.ham = false;
  options.rule = "adamw";
  CHECK_THROWS_WITH(validate(options),
                    doctest::Contains("does not work with optim.rule = \"adamw\""));
  options.sign_in = 0;
  options.nesterov = true;
  options.momentum = 0;
  CHECK_NOTHROW(validate(options));  // adamw reads neither
  options.rule = "sgd";
  CHECK_THROWS_WITH(validate(options), doctest::Contains("needs optim.momentum above 0"));
}
