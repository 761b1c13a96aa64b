// The kernels of soft thresholds against their definition in double.
#include <cmath>
#include <fmt/format.h>

#include "kernels/common/parallel.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/support/comparison.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using sculpt::testing::is_plus_zero;

constexpr double kMomentum = 0.8, kDecay = 0.25;

UpdateOptions options_of(UpdateRule rule, bool nesterov) {
  UpdateOptions options;
  options.rule = rule;
  options.momentum = static_cast<float>(kMomentum);
  options.nesterov = nesterov;
  return options;
}

UpdateScalars scalars_of_step(int t, const UpdateOptions& o) {
  UpdateScalars scalars{0.25f / static_cast<float>(t), 0.5f};
  scalars.first_correction = static_cast<float>(1 / (1 - std::pow(double{o.beta1}, t)));
  scalars.second_correction = static_cast<float>(1 / (1 - std::pow(double{o.beta2}, t)));
  return scalars;
}

/// The trained number of a layer as kernels/soft_threshold.h defines its update.
struct PlainThreshold {
  double s = 0, m = 0, q = 0;

  double t() const { return 1 / (1 + std::exp(-s)); }
  void step(double sum, const UpdateScalars& scalars, const UpdateOptions& o) {
    const double lr = scalars.lr, g = double{scalars.grad_scale} * -t() * (1 - t()) * sum;
    if (o.rule == UpdateRule::adamw) {
      m = double{o.beta1} * m + double{o.one_minus_beta1} * g;
      q = double{o.beta2} * q + double{o.one_minus_beta2} * g * g;
      s = s - lr * kDecay * s -
          lr * double{scalars.first_correction} * m /
              (std::sqrt(double{scalars.second_correction} * q) + double{o.epsilon});
      return;
    }
    const double d = g + kDecay * s, mu = o.momentum;
    m = mu * m + d;
    s -= lr * (o.nesterov ? d + mu * m : m);
  }
};

double sign(double v) {
  return v > 0 ? 1 : v < 0 ? -1 : 0;
}

/// Two layers with a range between them that has no threshold.
struct Case {
  const Backend& backend;
  std::vector<SoftThresholdRun> runs;
  Values v;
  Array raw, weight, grad;
  DeviceCopy<SoftThresholdRun> device_runs;
  DeviceCopy<SoftThreshold> layers;
  DeviceScratch workspace;

  Case(const Backend& b, int64_t count, const std::vector<PlainThreshold>& plain)
      : backend(b),
        runs({{0, count, 0}, {count, 5, -1}, {count + 5, 2 * count, 1}}),
        v(random_values(3 * count + 5, 1)),
        raw(b, v),
        weight(b, Values(v.size(), 7)),
        grad(b, Values(v.size(), 0)),
        device_runs(b, runs),
        layers(b, layers_of(plain)),
        workspace(b, b.soft_threshold.workspace_bytes(3)) {}

  static std::vector<SoftThreshold> layers_of(const std::vector<PlainThreshold>& plain) {
    std::vector<SoftThreshold> layers;
    for (const PlainThreshold& layer : plain)
      layers.push_back({.s = layer.s, .threshold = layer.t()});
    return layers;
  }
  SoftThresholdArena view() {
    return {weight.data(), raw.data(), grad.data(), device_runs.data(), 3, layers.data()};
  }
};

TEST_CASE("soft thresholds: gradients, thresholds and weights against the definition") {
  for (const Backend* backend : all_backends())
    for (const int64_t count : {1, 7, 64, 1003, 20011})
      for (const auto& [rule, nesterov] : {std::pair{UpdateRule::sgd, false},
                                           {UpdateRule::sgd, true},
                                           {UpdateRule::adamw, false}}) {
        CAPTURE(backend->name);
        CAPTURE(fmt::format("count {} rule {} nesterov {}", count, int(rule), nesterov));
        const UpdateOptions options = options_of(rule, nesterov);
        std::vector<PlainThreshold> plain = {{-0.5}, {-2}};
        Case c(*backend, count, plain);
        for (int t = 1; t <= 3; ++t) {
          const Values g = random_values(std::ssize(c.v), 10 + static_cast<uint64_t>(t), 0.25);
          for (size_t i = 0; i < g.size(); ++i)
            c.grad.set(i, g[i]);
          const UpdateScalars scalars = scalars_of_step(t, options);
          DeviceCopy device_scalars(*backend, std::vector<UpdateScalars>{scalars});
          backend->soft_threshold.gradients(c.view(), c.workspace.data(), backend->stream);
          backend->soft_threshold.apply(c.view(), device_scalars.data(), options,
                                        static_cast<float>(kDecay), backend->stream);
          const double allowed = parameter_tolerance(*backend, 1e-6);
          int64_t wrong_gradients = 0, not_zero = 0, behind = 0;
          double worst = 0;
          for (const SoftThresholdRun& run : c.runs) {
            double before = -1, after = -1;
            if (run.layer >= 0) {
              PlainThreshold& layer = plain[static_cast<size_t>(run.layer)];
              before = layer.t();
              double sum = 0;
              for (int64_t i = run.offset; i < run.offset + run.count; ++i) {
                const auto at = static_cast<size_t>(i);
                if (std::abs(c.v[at]) > before) sum += sign(c.v[at]) * g[at];
              }
              layer.step(sum, scalars, options);
              after = layer.t();
              const SoftThreshold found = c.layers.values()[static_cast<size_t>(run.layer)];
              CHECK(found.s == doctest::Approx(layer.s).epsilon(1e-5));
              CHECK(found.momentum == doctest::Approx(layer.m).epsilon(1e-5));
              CHECK(found.second == doctest::Approx(layer.q).epsilon(1e-5));
              CHECK(found.threshold == doctest::Approx(after).epsilon(1e-5));
            }
            for (int64_t i = run.offset; i < run.offset + run.count; ++i) {
              const auto at = static_cast<size_t>(i);
              const double v = c.v[at], w = c.weight.get(at);
              const bool passes = run.layer < 0 || std::abs(v) > before;
              wrong_gradients += c.grad.get(at) != (passes ? g[at] : 0);
              const double rest = std::abs(v) - after;
              const double expected = run.layer < 0 ? v : rest > 0 ? sign(v) * rest : 0;
              worst = std::max(worst, std::abs(w - expected));
              behind += rest < -1e-5;
              not_zero += run.layer >= 0 && rest < -1e-5 && !is_plus_zero(w);
            }
          }
          CHECK(wrong_gradients == 0);
          CHECK(worst < 10 * allowed);
          CHECK(not_zero == 0);
          if (count >= 64) CHECK(behind > 0);
        }
      }
}

TEST_CASE("soft thresholds: sums do not depend on the number of threads" * needs_cpu()) {
  const int threads = sculpt::thread_count();
  for (const Backend* backend : tested_backends()) {
    CAPTURE(backend->name);
    std::vector<double> gradients;
    for (const int count : {1, 3, threads}) {
      sculpt::set_thread_count(count);
      Case c(*backend, 10007, {{-1}, {-3}});
      const Values g = random_values(std::ssize(c.v), 4, 100);
      for (size_t i = 0; i < g.size(); ++i)
        c.grad.set(i, g[i]);
      backend->soft_threshold.gradients(c.view(), c.workspace.data(), backend->stream);
      gradients.push_back(c.layers.values()[0].gradient);
      CHECK(gradients.back() != 0);
      CHECK(gradients.back() == gradients.front());
    }
  }
  sculpt::set_thread_count(threads);
}

TEST_CASE("soft thresholds: masked weights, which are +0, stay so, and get no gradient") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Case c(*backend, 100, {{-20000}, {-1}});  // the first threshold is 0
    for (size_t i = 0; i < c.v.size(); i += 2)
      c.raw.set(i, 0);
    for (size_t i = 0; i < c.v.size(); ++i)
      c.grad.set(i, 1);
    DeviceCopy scalars(*backend, std::vector<UpdateScalars>{{0.0f, 1.0f}});
    backend->soft_threshold.gradients(c.view(), c.workspace.data(), backend->stream);
    backend->soft_threshold.apply(c.view(), scalars.data(), {}, 0, backend->stream);
    CHECK(c.layers.values()[0].threshold == 0);
    int64_t wrong = 0;
    for (size_t i = 0; i < 100; ++i) {
      const bool masked = i % 2 == 0;
      wrong += c.grad.get(i) != (masked ? 0 : 1);
      wrong += masked ? !is_plus_zero(c.weight.get(i)) : c.weight.get(i) != c.v[i];
    }
    CHECK(wrong == 0);
  }
}

}  // namespace
