#include <cmath>
#include <fmt/format.h>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

std::vector<uint8_t> random_mask(int64_t count, double density, uint64_t seed) {
  std::vector<uint8_t> mask(static_cast<size_t>(count));
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = sculpt::philox_uniform(sculpt::philox4x32(seed, i, 9)[0]) < density ? 1 : 0;
  return mask;
}

bool is_positive_zero(double value) {
  return value == 0 && !std::signbit(value);
}

TEST_CASE("masked sgd: three steps against the definition") {
  for (const Backend* backend : all_backends()) {
    for (const int64_t count : {1, 7, 64, 1003}) {
      for (const double density : {0.0, 0.3, 1.0, -1.0}) {  // -1: no mask
        for (const bool nesterov : {false, true}) {
          CAPTURE(backend->name);
          CAPTURE(fmt::format("count {} density {} nesterov {}", count, density, nesterov));
          SgdStep step;
          step.lr = 0.1f;
          step.weight_decay = 0.01f;
          step.nesterov = nesterov;
          step.grad_scale = 0.5f;
          Values w = random_values(count, 1), m = random_values(count, 2);
          const auto mask = random_mask(count, std::abs(density), 3);
          const uint8_t* mask_or_null = density < 0 ? nullptr : mask.data();
          Array weight(*backend, w), momentum(*backend, m);
          for (uint64_t t = 0; t < 3; ++t) {
            const Values g = random_values(count, 10 + t);
            Array grad(*backend, g);
            backend->masked_sgd.update(weight.data(), momentum.data(), grad.data(), mask_or_null,
                                       count, step, nullptr);
            for (size_t i = 0; i < w.size(); ++i) {
              const double decayed = 0.5 * g[i] + double{step.weight_decay} * w[i];
              m[i] = double{step.momentum} * m[i] + decayed;
              w[i] -= double{step.lr} * (nesterov ? decayed + double{step.momentum} * m[i] : m[i]);
              if (mask_or_null != nullptr && mask[i] == 0) w[i] = m[i] = 0;
            }
            CHECK(grad.values() == g);
          }
          CHECK(max_error(weight.values(), w) < tolerance(*backend, 1e-6));
          CHECK(max_error(momentum.values(), m) < tolerance(*backend, 1e-6));
        }
      }
    }
  }
}

TEST_CASE("masked sgd: a masked weight is +0 whatever its gradient") {
  const double infinity = INFINITY;
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Values bad = {-1, infinity, -infinity, std::nan(""), -0.0, -1e-40};
    Values weights, momenta, grads;
    for (int repeat = 0; repeat < 7; ++repeat)  // past one vector, with a tail
      for (size_t i = 0; i < bad.size(); ++i) {
        weights.push_back(bad[i]);
        momenta.push_back(bad[(i + 1) % bad.size()]);
        grads.push_back(bad[(i + 2) % bad.size()]);
      }
    Array weight(*backend, weights), momentum(*backend, momenta), grad(*backend, grads);
    const std::vector<uint8_t> mask(weights.size(), 0);
    SgdStep step;
    step.lr = 1;
    step.weight_decay = 1;
    backend->masked_sgd.update(weight.data(), momentum.data(), grad.data(), mask.data(),
                               static_cast<int64_t>(weights.size()), step, nullptr);
    for (size_t i = 0; i < weights.size(); ++i) {
      CHECK(is_positive_zero(weight.get(i)));
      CHECK(is_positive_zero(momentum.get(i)));
    }
  }
}

TEST_CASE("masked sgd: sum of squares, with and without mask, for any number of threads") {
  for (const Backend* backend : all_backends()) {
    for (const int64_t count : {0, 1, 63, 64, 10007}) {
      CAPTURE(backend->name);
      CAPTURE(count);
      const Values g = random_values(count, 4, 100);
      const auto mask = random_mask(count, 0.4, 5);
      double all = 0, masked = 0;
      for (size_t i = 0; i < g.size(); ++i) {
        all += g[i] * g[i];
        if (mask[i] != 0) masked += g[i] * g[i];
      }
      Array grad(*backend, g);
      const auto sum = backend->masked_sgd.sum_of_squares;
      CHECK(sum(grad.data(), nullptr, count, nullptr) == doctest::Approx(all).epsilon(1e-13));
      const double with_mask = sum(grad.data(), mask.data(), count, nullptr);
      CHECK(with_mask == doctest::Approx(masked).epsilon(1e-13));
      for (const int threads : {1, 3, 4}) {
        const ThreadCount scope(threads);
        CHECK(sum(grad.data(), mask.data(), count, nullptr) == with_mask);
      }
    }
  }
}

}  // namespace
