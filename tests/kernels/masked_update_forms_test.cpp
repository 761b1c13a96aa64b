// SGD, AdamW and Sign-In, with and without HAM and an average of weights, against their definition.
#include <cmath>
#include <fmt/format.h>

#include "tests/kernels/masked_update_arena.h"
#include "tests/support/comparison.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using sculpt::testing::is_plus_zero;

TEST_CASE("masked update: every form against its definition, at every length") {
  for (const Backend* backend : all_backends()) {
    for (const int64_t count : {1, 7, 64, 1003}) {
      for (const bool masked : {false, true}) {
        for (const Form& form : all_forms()) {
          CAPTURE(backend->name);
          CAPTURE(fmt::format("{}, count {}, masked {}", form.name(), count, masked));
          const UpdateOptions options = form.options();
          // The first segment is plain SGD or AdamW, and one element belongs to no segment.
          const int64_t first = count / 3, second = count > 2 ? first + 1 : first;
          UpdateSegment special{second, count - second, 0.05f};
          special.ham = form.ham;
          special.sign_in = form.sign_in;
          const std::vector<UpdateSegment> segments = {{0, first, 0.01f}, special};
          Form plain = form;
          plain.ham = plain.sign_in = false;

          const Values weights = random_values(count, 1), none(weights.size(), 0);
          const auto mask = random_mask(count, 0.6, 3);
          Arena arena(*backend, weights, none, segments, masked ? &mask : nullptr);
          arena.use_arrays_of(form);
          std::vector<PlainWeight> expected(weights.size());
          for (size_t i = 0; i < weights.size(); ++i)
            expected[i].w = weights[i];
          for (int t = 1; t <= 4; ++t) {
            const Values g = random_values(count, 10 + static_cast<uint64_t>(t), 4);
            for (size_t i = 0; i < g.size(); ++i)
              arena.grad.set(i, g[i]);
            const UpdateScalars scalars = scalars_of_step(t, options);
            arena.update(scalars, options);
            for (size_t i = 0; i < g.size(); ++i) {
              const auto at = static_cast<int64_t>(i);
              if (at >= first && at < second) continue;
              if (masked && mask[i] == 0)
                expected[i] = {};
              else
                expected[i].step(g[i], double{segments[at < first ? 0 : 1].weight_decay}, scalars,
                                 options, at < first ? plain : form);
            }
          }
          const double allowed = parameter_tolerance(*backend, 1e-5);
          const auto compare = [&](const char* name, const Array& array,
                                   double PlainWeight::*member, bool used) {
            CAPTURE(name);
            double worst = 0;
            for (size_t i = 0; i < array.size(); ++i) {
              const double value = used ? expected[i].*member : 0;
              worst = std::max(worst, std::abs(array.get(i) - value) / (1 + std::abs(value)));
            }
            CHECK(worst < allowed);
          };
          compare("weight", arena.weight, &PlainWeight::w, true);
          compare("momentum", arena.momentum, &PlainWeight::m, true);
          compare("second", arena.second, &PlainWeight::v, arena.uses_second);
          compare("factor", arena.factor, &PlainWeight::f, arena.uses_factor);
          compare("average", arena.average, &PlainWeight::average, arena.uses_average);
        }
      }
    }
  }
}

TEST_CASE("masked update: the result of a weight does not depend on its position") {
  constexpr size_t kCount = 131;  // whole vectors of every width, and a tail
  for (const Backend* backend : all_backends()) {
    for (const Form& form : all_forms()) {
      CAPTURE(backend->name);
      CAPTURE(form.name());
      UpdateSegment segment{0, kCount, 0.05f};
      segment.ham = form.ham;
      segment.sign_in = form.sign_in;
      const std::vector<uint8_t> mask(kCount, 1);
      Arena arena(*backend, Values(kCount, 0.3), Values(kCount, 0.11), {segment}, &mask);
      arena.use_arrays_of(form);
      for (int t = 1; t <= 5; ++t) {
        for (size_t i = 0; i < kCount; ++i)
          arena.grad.set(i, 0.7 - 0.37 * t);
        arena.update(scalars_of_step(t, form.options()), form.options());
      }
      for (const Array* array :
           {&arena.weight, &arena.momentum, &arena.second, &arena.factor, &arena.average})
        for (size_t i = 1; i < kCount; ++i)
          REQUIRE(array->get(i) == array->get(0));
    }
  }
}

TEST_CASE("masked update: a masked weight is +0 whatever its gradient, in all arrays") {
  const double infinity = INFINITY;
  for (const Backend* backend : all_backends()) {
    for (const Form& form : all_forms()) {
      CAPTURE(backend->name);
      CAPTURE(form.name());
      const Values bad = {-1, infinity, -infinity, std::nan(""), -0.0, -1e-40};
      Values weights, momenta;
      for (int repeat = 0; repeat < 7; ++repeat)  // past one vector, with a tail
        for (size_t i = 0; i < bad.size(); ++i) {
          weights.push_back(bad[i]);
          momenta.push_back(bad[(i + 1) % bad.size()]);
        }
      UpdateSegment segment{0, std::ssize(weights), 1.0f};
      segment.ham = form.ham;
      segment.sign_in = form.sign_in;
      const std::vector<uint8_t> mask(weights.size(), 0);
      Arena arena(*backend, weights, momenta, {segment}, &mask);
      arena.use_arrays_of(form);
      for (size_t i = 0; i < weights.size(); ++i) {
        arena.grad.set(i, bad[(i + 2) % bad.size()]);
        for (Array* array : {&arena.second, &arena.factor, &arena.average})
          array->set(i, bad[(i + 3) % bad.size()]);
      }
      arena.update({1.0f, 1.0f}, form.options());
      for (size_t i = 0; i < weights.size(); ++i) {
        CHECK(is_plus_zero(arena.weight.get(i)));
        CHECK(is_plus_zero(arena.momentum.get(i)));
        if (arena.uses_second) CHECK(is_plus_zero(arena.second.get(i)));
        if (arena.uses_factor) CHECK(is_plus_zero(arena.factor.get(i)));
        if (arena.uses_average) CHECK(is_plus_zero(arena.average.get(i)));
      }
    }
  }
}

TEST_CASE("masked update: HAM keeps exact zeros and signs, and clips its exponent") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Values weights = {0.0, 2.0, -2.0, 2.0, -2.0};
    UpdateSegment segment{0, std::ssize(weights)};
    segment.ham = true;
    Arena arena(*backend, weights, Values(weights.size(), 0), {segment}, nullptr);
    // The step before HAM changes no weight but the zero, because momentum is 0 and gradients
    // are about 1e-10.
    UpdateOptions options;
    options.momentum = 0;
    options.any_ham = true;
    options.ham_alpha = 1e20f;
    options.ham_beta = 0;
    const Values grad = {0.0, 1e-10, 1e-10, -1e-10, -1e-10};
    for (size_t i = 0; i < grad.size(); ++i)
      arena.grad.set(i, grad[i]);
    arena.update({1.0f, 1.0f}, options);
    const double grown = 2 * std::exp(5.0), shrunk = 2 * std::exp(-5.0);
    CHECK(arena.weight.get(0) == 0);
    CHECK(arena.weight.get(1) == doctest::Approx(shrunk).epsilon(1e-6));
    CHECK(arena.weight.get(2) == doctest::Approx(-grown).epsilon(1e-6));
    CHECK(arena.weight.get(3) == doctest::Approx(grown).epsilon(1e-6));
    CHECK(arena.weight.get(4) == doctest::Approx(-shrunk).epsilon(1e-6));
  }
}

TEST_CASE("masked update: HAM's exponential is exact to 2 units in the last place") {
  // HAM's step turns a weight of 1 into exp(-lr * ham_beta) if its gradient is 0.
  constexpr int kSteps = 20001;
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    constexpr size_t kCount = 21;  // vectors and a tail
    UpdateSegment segment{0, kCount};
    segment.ham = true;
    double worst = 0;
    for (int step = 0; step < kSteps; ++step) {
      if (backend->memory != nullptr && step % 100 != 0) continue;  // launches take long
      Arena arena(*backend, Values(kCount, 1), Values(kCount, 0), {segment}, nullptr);
      for (size_t i = 0; i < kCount; ++i)
        arena.grad.set(i, 0);
      UpdateOptions options;
      options.any_ham = true;
      options.ham_beta = -1;
      const auto x = static_cast<float>(10.0 * step / (kSteps - 1) - 5);
      arena.update({x, 1.0f}, options);
      const double exact = std::exp(static_cast<double>(x));
      const double ulp =
          std::nextafter(static_cast<float>(exact), 1e9f) - static_cast<float>(exact);
      for (const size_t i : {size_t{0}, kCount - 1})
        worst = std::max(worst, std::abs(arena.weight.get(i) - exact) / ulp);
    }
    CHECK(worst < 2);
  }
}

TEST_CASE("masked update: Sign-In splits a weight of 0 into a factor of sqrt(beta) and 0") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    const Values weights = {0.0, 0.5, -0.5};
    UpdateSegment segment{0, std::ssize(weights)};
    segment.sign_in = true;
    Arena arena(*backend, weights, Values(weights.size(), 0), {segment}, nullptr);
    arena.uses_second = arena.uses_factor = true;
    UpdateOptions options;
    options.sign_in_beta = 4;
    for (size_t i = 0; i < weights.size(); ++i)
      arena.grad.set(i, 0);
    arena.update({0.1f, 1.0f}, options);
    CHECK(arena.factor.get(0) == 2);
    CHECK(arena.weight.get(0) == 0);
    for (const size_t i : {size_t{1}, size_t{2}}) {
      const double f = arena.factor.get(i), u = arena.weight.get(i) / f;
      CHECK(f * f - u * u == doctest::Approx(4).epsilon(1e-6));
      CHECK(arena.weight.get(i) == doctest::Approx(weights[i]).epsilon(2e-7));
    }
  }
}

}  // namespace
