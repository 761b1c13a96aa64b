// Optimizers with soft thresholds: 50 steps against plain loops in double, with dense and packed
// layouts, and what a checkpoint holds.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>
#include <string>
#include <vector>

#include "tests/optim/optimizer_definition.h"
#include "tests/support/comparison.h"
#include "tests/support/device_array.h"
#include "tests/support/needs.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::needs_gpu;
using sculpt::test::tested_backends;

namespace {

constexpr double kInitial = -2;

/// v and s by the paper's formulas. The optimizer of v is that of optimizer_definition.h.
struct PlainThresholds {
  Definition v;
  std::vector<double> s, m, q;  // of each prunable layer

  template <class T>
  PlainThresholds(const OptimOptions& options, std::span<const T> weights)
      : v(options, weights), s(2, kInitial), m(2), q(2) {}

  static double threshold(double s) { return 1 / (1 + std::exp(-s)); }
  static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

  /// Returns w.
  std::vector<double> weights(const ParameterArena& arena) const {
    std::vector<double> w = v.w;
    size_t layer = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      const double t = threshold(s[layer++]);
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
        w[i] = std::abs(v.w[i]) > t ? sign(v.w[i]) * (std::abs(v.w[i]) - t) : 0;
    }
    return w;
  }

  template <class T>
  void step(const ParameterArena& arena, const std::vector<T>& gradients, double lr) {
    ++v.steps;
    std::vector<double> g(gradients.begin(), gradients.end()), of_s;
    size_t layer = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      const double t = threshold(s[layer++]);
      double sum = 0;
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        if (arena.masks()[i] == 0 || !(std::abs(v.w[i]) > t)) g[i] = 0;
        sum += sign(v.w[i]) * g[i];
      }
      of_s.push_back(-t * (1 - t) * sum);
    }
    double squares = 0;
    for (const double x : g)
      squares += x * x;
    const double clip = v.o.clip_norm, norm = std::sqrt(squares);
    const double scale = clip > 0 && norm > clip ? clip / norm : 1;
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
        if (arena.masks()[i]) v.step_of(i, p, scale * g[i], lr);
    for (layer = 0; layer < s.size(); ++layer)
      step_threshold(layer, scale * of_s[layer], lr);
  }
  void step_threshold(size_t layer, double g, double lr) {
    const OptimOptions& o = v.o;
    if (o.rule != "adamw") {
      s[layer] -= lr * v.momentum(m[layer], g + o.weight_decay * s[layer]);
      return;
    }
    const auto n = static_cast<double>(v.steps);
    m[layer] = o.beta1 * m[layer] + (1 - o.beta1) * g;
    q[layer] = o.beta2 * q[layer] + (1 - o.beta2) * g * g;
    s[layer] = (1 - lr * o.weight_decay) * s[layer] -
               lr * m[layer] / (1 - std::pow(o.beta1, n)) /
                   (std::sqrt(q[layer] / (1 - std::pow(o.beta2, n))) + o.epsilon);
  }
};

template <class T>
double worst_difference(std::span<const T> found, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
  return worst;
}

OptimizerArrayId find_array(const ParameterArena& arena, const std::string& name) {
  for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
    if (arena.optimizer_array_name(id) == name) return id;
  FAIL("no array ", name);
  return -1;
}

template <class T>
void compare(const kernels::Backend& backend, const OptimOptions& options, double tolerance,
             bool packed) {
  ParameterArena arena;
  add_parameters(backend, arena);
  draw_weights<T>(arena);
  draw_masks(arena, 0);
  const auto optimizer = make_optimizer(arena, options);
  optimizer->add_soft_thresholds();
  optimizer->reset();
  PlainThresholds expected(options, arena.weights<T>());
  optimizer->soft_thresholds()->begin(kInitial);
  const OptimizerArrayId raw = find_array(arena, "raw");
  CHECK(worst_difference(arena.weights<T>(), expected.weights(arena)) < tolerance);
  double worst = 0, worst_raw = 0, worst_momentum = 0, worst_threshold = 0;
  int64_t not_zero = 0, zeros = 0, passing = 0;
  for (uint64_t step = 0; step < 50; ++step) {
    draw_gradients<T>(arena, step);
    const std::vector<T> gradients(arena.gradients<T>().begin(), arena.gradients<T>().end());
    const double lr = 0.01 / (1 + static_cast<double>(step % 7));
    if (packed && step % 8 != 3) arena.store_packed(std::vector<ParameterId>{0, 3});
    optimizer->step(lr);
    arena.store_dense();
    expected.step(arena, gradients, lr);
    worst = std::max(worst, worst_difference(arena.weights<T>(), expected.weights(arena)));
    worst_raw = std::max(worst_raw, worst_difference(arena.optimizer_values<T>(raw), expected.v.w));
    worst_momentum = std::max(worst_momentum, worst_difference(arena.momentum<T>(), expected.v.m));
    const std::vector<double> thresholds = optimizer->soft_thresholds()->thresholds();
    REQUIRE(thresholds.size() == 2);
    for (size_t l = 0; l < 2; ++l)
      worst_threshold = std::max(
          worst_threshold, std::abs(thresholds[l] - PlainThresholds::threshold(expected.s[l])));
    for (size_t i = 0; i < expected.v.w.size(); ++i) {
      const auto w = static_cast<double>(arena.weights<T>()[i]);
      const auto v = static_cast<double>(arena.optimizer_values<T>(raw)[i]);
      if (arena.masks()[i] == 0) not_zero += !is_plus_zero(w) || !is_plus_zero(v);
      (w == 0 ? zeros : passing) += arena.masks()[i];
    }
  }
  CHECK(worst < tolerance);
  CHECK(worst_raw < tolerance);
  CHECK(worst_momentum < 10 * tolerance);
  CHECK(worst_threshold < tolerance);
  CHECK(not_zero == 0);
  CHECK(zeros > 1000);    // otherwise the thresholds would not matter
  CHECK(passing > 1000);  // of 50 steps
}

std::map<std::string, OptimOptions> forms() {
  OptimOptions sgd;
  sgd.weight_decay = 0.05;
  std::map<std::string, OptimOptions> forms = {
      {"sgd", sgd}, {"nesterov", sgd}, {"clipped", sgd}, {"exempt", sgd}, {"adamw", sgd}};
  forms["nesterov"].nesterov = true;
  forms["clipped"].clip_norm = 3;
  forms["exempt"].decay_norm_and_bias = false;
  forms["adamw"].rule = "adamw";
  forms["adamw"].beta2 = 0.99;
  forms["adamw"].epsilon = 1e-3;
  return forms;
}

}  // namespace

TEST_CASE("soft thresholds: 50 steps equal plain loops, in dense and packed layouts") {
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

TEST_CASE(
    "soft thresholds: an optimizer that is restored after any step goes on with the same bits") {
  for (const kernels::Backend* backend : tested_backends())
    for (const char* rule : {"sgd", "adamw"}) {
      CAPTURE(backend->name);
      CAPTURE(rule);
      OptimOptions options;
      options.rule = rule;
      options.weight_decay = 0.05;
      const auto train = [&](int64_t restored_after) {
        ParameterArena arena;
        add_parameters(*backend, arena);
        draw_weights<float>(arena);
        draw_masks(arena, 0);
        auto optimizer = make_optimizer(arena, options);
        optimizer->add_soft_thresholds();
        optimizer->soft_thresholds()->begin(kInitial);
        for (int64_t step = 0; step < 8; ++step) {
          if (step == restored_after) {
            const OptimizerValues values = optimizer->save();
            optimizer = make_optimizer(arena, options);
            optimizer->add_soft_thresholds();
            CHECK_FALSE(optimizer->soft_thresholds()->active());
            optimizer->restore(values);
            CHECK(optimizer->soft_thresholds()->active());
            CHECK(optimizer->save() == values);
          }
          draw_gradients<float>(arena, static_cast<uint64_t>(step));
          optimizer->step(0.02);
        }
        std::vector<float> end(arena.weights().begin(), arena.weights().end());
        const auto raw = arena.optimizer_values<float>(find_array(arena, "raw"));
        end.insert(end.end(), raw.begin(), raw.end());
        return end;
      };
      const std::vector<float> whole = train(-1);
      for (int64_t step = 0; step < 8; ++step)
        CHECK(train(step) == whole);
    }
}

TEST_CASE("soft thresholds: switched off, weights stay and train as usual") {
  for (const kernels::Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    OptimOptions options;
    ParameterArena arena, usual;
    for (ParameterArena* one : {&arena, &usual}) {
      add_parameters(*backend, *one);
      draw_weights<float>(*one);
    }
    const auto optimizer = make_optimizer(arena, options);
    optimizer->add_soft_thresholds();
    SoftThresholds& thresholds = *optimizer->soft_thresholds();
    thresholds.begin(kInitial);
    draw_gradients<float>(arena, 0);
    optimizer->step(0.02);
    const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
    thresholds.end();
    CHECK(std::ranges::equal(arena.weights(), weights));
    CHECK(optimizer->save().empty());
    CHECK(std::ranges::count(arena.optimizer_values<float>(find_array(arena, "raw")), 0.0f) ==
          arena.count());
    // The same weights and momenta in an optimizer that never had thresholds.
    const auto plain = make_optimizer(usual, options);
    std::ranges::copy(weights, usual.edit_weights().begin());
    std::ranges::copy(arena.momentum(), usual.edit_momentum().begin());
    for (uint64_t step = 1; step < 4; ++step) {
      draw_gradients<float>(arena, step);
      draw_gradients<float>(usual, step);
      optimizer->step(0.02);
      plain->step(0.02);
    }
    CHECK(std::ranges::equal(arena.weights(), usual.weights()));
    thresholds.begin(kInitial);
    optimizer->reset();
    CHECK_FALSE(thresholds.active());
  }
}

TEST_CASE("soft thresholds: the compute copy holds the weights behind the thresholds" *
          needs_gpu()) {
  for (const kernels::Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    ParameterArena arena;
    add_parameters(*backend, arena);
    draw_weights<float>(arena);
    const auto optimizer = make_optimizer(arena, {});
    optimizer->add_soft_thresholds();
    optimizer->soft_thresholds()->begin(kInitial);
    draw_gradients<float>(arena, 0);
    arena.update_compute_copy();
    optimizer->step(0.02);
    const size_t bytes = backend->compute_weight_bytes;
    for (const ParameterId id : {0, 3}) {
      const Parameter& p = arena[id];
      std::vector<std::byte> copy(static_cast<size_t>(p.count) * bytes);
      backend->memory->copy_out(copy.data(), arena.compute_weight(id), copy.size());
      int64_t zeros = 0;
      double worst = 0;
      for (int64_t i = 0; i < p.count; ++i) {
        const int64_t taps = 9, in = p.shape[1];
        const int64_t tap = i % taps, c = i / taps % in, o = i / taps / in;
        const double w = arena.weights()[static_cast<size_t>(p.offset + i)];
        const double found = test::read_element(
            copy.data() + static_cast<size_t>((o * taps + tap) * in + c) * bytes, bytes);
        worst = std::max(worst, std::abs(found - w) - (bytes == 2 ? std::abs(w) / 256 : 0));
        zeros += w == 0;
      }
      CHECK(worst <= 0);
      CHECK(zeros > 20);
    }
  }
}

TEST_CASE("soft thresholds: what cannot work is refused, and damaged values are found") {
  ParameterArena arena;
  add_parameters(kernels::reference_backend(), arena);
  const auto refusal = [&](auto change) {
    OptimOptions options;
    change(options);
    std::string text;
    try {
      make_optimizer(arena, options)->add_soft_thresholds();
    } catch (const Error& error) {
      text = error.what();
    }
    return text;
  };
  CHECK(refusal([](OptimOptions&) {}) == "");
  CHECK(refusal([](OptimOptions& o) { o.rule = "adamw"; }) == "");
  CHECK(refusal([](OptimOptions& o) { o.ham = true; }).find("set optim.ham = false") !=
        std::string::npos);
  CHECK(refusal([](OptimOptions& o) { o.sign_in = 1; }).find("set optim.sign_in = 0") !=
        std::string::npos);
  CHECK(refusal([](OptimOptions& o) { o.ema = 0.9; }).find("set optim.ema = 0") !=
        std::string::npos);

  const auto optimizer = make_optimizer(arena, {});
  optimizer->add_soft_thresholds();
  optimizer->soft_thresholds()->begin(kInitial);
  OptimizerValues values = optimizer->save();
  CHECK(values == OptimizerValues{{"threshold.conv1.weight", "-0x1p+1 0x0p+0 0x0p+0"},
                                  {"threshold.conv2.weight", "-0x1p+1 0x0p+0 0x0p+0"}});
  for (const char* text : {"", "1 2", "1 2 x", "1 2 3 4"}) {
    values["threshold.conv2.weight"] = text;
    CHECK_THROWS_WITH(optimizer->restore(values), doctest::Contains("not three numbers"));
  }
  values.erase("threshold.conv2.weight");
  CHECK_THROWS_WITH(optimizer->restore(values), doctest::Contains("threshold.conv2.weight"));
}
