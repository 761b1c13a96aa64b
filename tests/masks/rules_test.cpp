// Every rule that changes masks against plain loops, over 50 steps of SGD with random gradients:
// the same mask, weights and momentum after every step, on every backend.

#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <set>

#include "engine/masks/mask_change.h"
#include "engine/optim/sgd.h"
#include "tests/support/comparison.h"
#include "tests/support/messages.h"
#include "tests/support/plain_rules.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::tested_backends;

namespace {

constexpr int64_t kSteps = 50;
constexpr uint64_t kSeed = 7;

/// The numbers are multiples of a quarter, so that many of them are equal.
double quantised(const RandomStream& random, uint64_t index) {
  return (static_cast<double>(random.below(index, 9)) - 4) / 4;
}

/// Layers of odd sizes. The first convolution is exempt, and conv4 stays dense at first.
template <class T>
void fill(const kernels::Backend& backend, ParameterArena& arena, double density) {
  arena.set_prunable(arena.add("conv1.weight", ParameterKind::conv_weight, {5, 3, 3, 3}), false);
  arena.add("bn1.weight", ParameterKind::norm_weight, {5});
  arena.add("conv2.weight", ParameterKind::conv_weight, {7, 5, 3, 3});
  arena.add("bn2.bias", ParameterKind::norm_bias, {7});
  arena.add("conv3.weight", ParameterKind::conv_weight, {3, 7, 1, 1});
  arena.add("conv4.weight", ParameterKind::conv_weight, {3, 3, 3, 3});
  arena.add("fc.weight", ParameterKind::linear_weight, {11, 3});
  arena.add("fc.bias", ParameterKind::bias, {11});
  arena.allocate(backend);
  const RandomStream random(3, Purpose::test);
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_weights<T>()[i] = static_cast<T>(quantised(random, i));
  if (density == 1) return;
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        masks[static_cast<size_t>(i)] = !p.prunable || p.name == "conv4.weight" ||
                                        random.uniform(static_cast<uint64_t>(i) + 100000) < density;
  });
}

/// Leaves random gradients of all weights, as a backward pass with a request does.
template <class T>
void backward(ParameterArena& arena, int64_t step) {
  const RandomStream random(4, Purpose::test, static_cast<uint64_t>(step));
  arena.store_dense();
  arena.full_gradients().request();
  arena.full_gradients().begin_backward();
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i)
    arena.edit_gradients<T>()[i] = static_cast<T>(quantised(random, i));
  arena.full_gradients().end_backward();
}

struct Case {
  PlainRule rule;
  MaskOptions options;
  double start = 1;   // density before the first step
  double target = 0;  // 0: the rule keeps the density
  int64_t first = 0;  // steps of the schedule that are left out
};

MaskOptions options_of(const PlainRule& rule) {
  MaskOptions options;
  options.interval = rule.interval;
  options.drop = rule.drop;
  options.begin = rule.begin;
  options.end = rule.end;
  return options;
}

std::vector<Case> cases() {
  std::vector<Case> cases;
  const auto add = [&](PlainRule rule, double start, double target, int64_t first = 0) {
    cases.push_back({rule, options_of(rule), start, target, first});
  };
  add({.name = "gmp", .interval = 4, .begin = 0.1, .end = 0.8}, 1, 0.07);
  add({.name = "gmp", .interval = 7, .begin = 0, .end = 1}, 0.6, 0.2, 12);
  add({.name = "granet", .interval = 5, .drop = 0.5, .begin = 0, .end = 0.7}, 1, 0.1);
  add({.name = "granet", .interval = 3, .drop = 0.5, .begin = 0.2, .end = 0.9}, 0.5, 0.15);
  add({.name = "set", .interval = 3, .drop = 0.3, .end = 0.75}, 0.3, 0);
  add({.name = "rigl", .interval = 3, .drop = 0.3, .end = 0.75}, 0.3, 0);
  add({.name = "rigl", .interval = 1, .drop = 0.9, .end = 1}, 0.7, 0, 20);
  add({.name = "itop", .interval = 6, .drop = 0.5, .end = 1}, 0.1, 0);
  Case acdc{.rule = {.name = "acdc", .sparse_at = {5, 25, 40}, .dense_at = {15, 30}},
            .options = {},
            .start = 1,
            .target = 0.2};
  acdc.options.sparse_from = {0.1, 0.5, 0.8};
  acdc.options.dense_from = {0.3, 0.6};
  cases.push_back(acdc);
  acdc.start = 0.05;  // the dense phases reach the target from below, too
  acdc.first = 10;
  acdc.rule.sparse_at = {25, 40};
  cases.push_back(acdc);
  return cases;
}

template <class T>
void compare(const kernels::Backend& backend, const Case& test, double momentum) {
  const MaskRule& rule = find_mask_rule(test.rule.name);
  ParameterArena arena;
  fill<T>(backend, arena, test.start);
  OptimOptions optim;
  optim.momentum = momentum;
  optim.weight_decay = 0;
  Sgd sgd(arena, optim);
  const double start = PlainNetwork::of<T>(arena).density();
  const DensityRange range{start, test.target > 0 ? test.target : start};
  int64_t changes = 0, grown = 0, dropped = 0, returned = 0, ties = 0;
  for (int64_t done = test.first + 1; done <= kSteps; ++done) {
    const SchedulePosition position{.done = done, .steps = kSteps, .first = test.first};
    const int64_t step = 1000 + done;  // earlier cycles have taken steps, too
    backward<T>(arena, step);
    sgd.step(0.25);
    CAPTURE(done);
    REQUIRE(rule.changes_after(position, test.options) == test.rule.changes(done, kSteps));
    PlainNetwork expected = PlainNetwork::of<T>(arena);
    if (test.rule.changes(done, kSteps)) {
      const PlainNetwork before = expected;
      const auto values = arena.full_gradients().values<T>();
      const std::vector<double> gradient(values.begin(), values.end());
      test.rule.change(expected, gradient, done, kSteps, start, range.target, kSeed, step);
      MaskChange change(arena, {position, range, test.options, kSeed, step}, [&] { sgd.reset(); });
      rule.change(change);
      change.apply();
      ++changes;
      for (size_t i = 0; i < before.mask.size(); ++i) {
        grown += before.mask[i] < expected.mask[i];
        dropped += before.mask[i] > expected.mask[i];
        returned += before.mask[i] == 1 && expected.mask[i] == 1 && before.momentum[i] != 0;
      }
      std::set<double> magnitudes;
      for (const double w : before.weight)
        magnitudes.insert(std::abs(w));
      ties += magnitudes.size() < before.weight.size() / 2;
    }
    const PlainNetwork actual = PlainNetwork::of<T>(arena);
    REQUIRE(actual.mask == expected.mask);
    REQUIRE(actual.weight == expected.weight);
    REQUIRE(actual.momentum == expected.momentum);
    int64_t not_zero = 0;
    for (size_t i = 0; i < actual.mask.size(); ++i)
      not_zero += actual.mask[i] == 0 &&
                  !(is_plus_zero(actual.weight[i]) && is_plus_zero(actual.momentum[i]));
    REQUIRE(not_zero == 0);
    const double density = rule.density_after(position, range, test.options);
    REQUIRE(static_cast<int64_t>(actual.kept()) ==
            std::llround(density * static_cast<double>(actual.prunable())));
  }
  CHECK(rule.density_after({.done = kSteps, .steps = kSteps, .first = test.first}, range,
                           test.options) == range.target);
  CHECK(changes > 1);
  CHECK((grown > 0) == (rule.grows_back && (test.target == 0 || test.rule.name != "gmp")));
  CHECK(dropped > 0);
  CHECK(returned > 0);
  if (momentum == 0) CHECK(ties > 0);
}

}  // namespace

TEST_CASE("mask rules: 50 steps give the masks, weights and momentum of plain loops") {
  std::vector<const kernels::Backend*> backends = tested_backends();
  backends.push_back(&kernels::reference_backend());
  for (const kernels::Backend* backend : backends)
    for (const Case& test : cases())
      for (const double momentum : {0.0, 0.5}) {
        CAPTURE(backend->name);
        CAPTURE(test.rule.name);
        CAPTURE(test.first);
        CAPTURE(momentum);
        if (backend->parameter_bytes == sizeof(double))
          compare<double>(*backend, test, momentum);
        else
          compare<float>(*backend, test, momentum);
      }
}

TEST_CASE("mask rules: a weight that is dropped and grown in one change keeps its value") {
  ParameterArena arena;
  arena.add("fc.weight", ParameterKind::linear_weight, {1, 6});
  arena.allocate(*tested_backends().front());
  const std::vector<float> weights = {4, 3, 2, 1, 0, 0}, gradients = {0, 0, 5, 9, 7, 1};
  std::ranges::copy(weights, arena.edit_weights<float>().begin());
  std::ranges::fill(arena.edit_momentum<float>(), 0.5f);
  arena.edit_masks([](std::span<uint8_t> masks) { masks[4] = masks[5] = 0; });
  arena.full_gradients().request();
  arena.full_gradients().begin_backward();
  std::ranges::copy(gradients, arena.edit_gradients<float>().begin());
  arena.full_gradients().end_backward();
  MaskOptions options;
  options.drop = 0.5;
  options.interval = 1;
  options.end = 1;
  // At the beginning of the schedule, two of four weights are exchanged: 2 and 1 are dropped. The
  // largest gradients have the second of them and a weight that was masked.
  MaskChange change(arena, {{.done = 1, .steps = 1 << 20}, {}, options, 1, 1}, [] {});
  exchange(change, 0.5, change.gradient_magnitudes());
  change.apply();
  const auto after = arena.weights<float>();
  const auto momentum = arena.momentum<float>();
  CHECK(std::vector<float>(after.begin(), after.end()) == std::vector<float>{4, 3, 0, 1, 0, 0});
  CHECK(std::vector<float>(momentum.begin(), momentum.end()) ==
        std::vector<float>{0.5f, 0.5f, 0, 0.5f, 0, 0});
  CHECK(std::vector<uint8_t>(arena.masks().begin(), arena.masks().end()) ==
        std::vector<uint8_t>{1, 1, 0, 1, 1, 0});
}

TEST_CASE("mask rules: set's choice depends on the seed and the step") {
  const auto mask_after = [](uint64_t seed, int64_t step) {
    ParameterArena arena;
    fill<float>(kernels::cpu_backend(), arena, 0.4);
    MaskOptions options;
    options.interval = 1;
    MaskChange change(arena, {{.done = 1, .steps = 100}, {0.4, 0.4}, options, seed, step}, [] {});
    find_mask_rule("set").change(change);
    change.apply();
    return std::vector<uint8_t>(arena.masks().begin(), arena.masks().end());
  };
  CHECK(mask_after(1, 5) == mask_after(1, 5));
  CHECK(mask_after(1, 5) != mask_after(2, 5));
  CHECK(mask_after(1, 5) != mask_after(1, 6));
}

TEST_CASE("mask rules: a gradient that is not a number is an error that names the element") {
  ParameterArena arena;
  fill<float>(*tested_backends().front(), arena, 0.4);
  backward<float>(arena, 1);
  const SharedPattern before = arena.pattern();
  size_t element = 0;
  for (const Parameter& p : arena.parameters())
    if (p.name == "conv3.weight") element = static_cast<size_t>(p.offset);
  while (arena.masks()[element] == 1)
    ++element;
  arena.full_gradients().request();
  arena.full_gradients().begin_backward();
  arena.edit_gradients<float>()[element] = std::numeric_limits<float>::quiet_NaN();
  arena.full_gradients().end_backward();
  MaskOptions options;
  options.interval = 1;
  MaskChange change(arena, {{.done = 1, .steps = 100}, {0.4, 0.4}, options, 1, 1}, [] {});
  CHECK_THROWS_AS(find_mask_rule("rigl").change(change), ScoreNotANumber);
  CHECK(contains(error_of([&] { find_mask_rule("rigl").change(change); }), "'conv3.weight'"));
  CHECK(arena.pattern() == before);
}
