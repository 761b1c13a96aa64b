// The rule that chooses between dense kernels and kernels that skip masked weights.

#include "engine/ops/kernel_rule.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <functional>
#include <vector>

#include "engine/core/random.h"
#include "kernels/common/cpu_caches.h"
#include "kernels/common/parallel.h"
#include "kernels/device/backend.h"
#include "kernels/winograd.h"

namespace sculpt::ops {
namespace {

using kernels::Choice;

kernels::Conv2dShape layer(int64_t in, int64_t out, int64_t pixels, int64_t window,
                           int64_t stride = 1, int64_t groups = 1) {
  kernels::Conv2dShape shape;
  shape.in = {in, pixels, pixels, 0};
  const int64_t padding = std::min(window / 2, pixels - 1);
  const int64_t size =
      std::max<int64_t>(1, kernels::conv2d_output_size(pixels, window, stride, padding));
  shape.out = {out, size, size, 0};
  shape.kernel_h = shape.kernel_w = window;
  shape.stride = stride;
  shape.padding = padding;
  shape.groups = groups;
  return shape;
}

std::vector<Machine> machines() {
  std::vector<Machine> all;
  for (const char* backend : {"cpu-avx512", "cpu-avx2", "cpu-portable", "cpu-of-next-year"})
    for (const int64_t l2_kib : {0, 128, 256, 512, 1024, 1280, 2048, 16384})
      for (const int threads : {1, 256})
        all.push_back({backend, l2_kib << 10, threads});
  return all;
}

/// Calls `check` for problems of every kind of layer. Their density is 1.
void for_each_problem(const std::function<void(const PassProblem&)>& check) {
  for (const int64_t in : {1, 3, 16, 100, 512, 25088})
    for (const int64_t out : {1, 10, 64, 4096})
      for (const int64_t pixels : {1, 4, 7, 32, 224})
        for (const int64_t window : {1, 3, 5, 11})
          for (const int64_t stride : {1, 2})
            for (const int64_t batch : {64})
              for (const bool winograd : {false, true})
                for (const ConvPass pass :
                     {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad})
                  check({pass, layer(in, out, pixels, window, stride), batch, winograd, 1});
  for (const int64_t channels : {1, 8, 512})  // depthwise
    for (const int64_t stride : {1, 2})
      for (const ConvPass pass : {ConvPass::forward, ConvPass::input_grad, ConvPass::weight_grad})
        check({pass, layer(channels, channels, 16, 3, stride, channels), 64, false, 1});
}

Choice choice_at(PassProblem problem, double density, const Machine& machine) {
  problem.density = density;
  return choose_by_rule(problem, machine);
}

TEST_CASE("kernel rule: every problem on every machine has a break-even density") {
  for (const Machine& machine : machines())
    for_each_problem([&](const PassProblem& problem) {
      const double limit = break_even_density(problem, machine);
      REQUIRE(limit > 0);
      REQUIRE(limit < 1);
      // All weights masked, and none.
      REQUIRE(choice_at(problem, 0, machine) == Choice::sparse);
      REQUIRE(choice_at(problem, 1, machine) == Choice::native);
    });
}

TEST_CASE("kernel rule: with fewer weights a pass never goes back to dense kernels") {
  for (const Machine& machine : {machines().front(), machines()[40], machines().back()})
    for_each_problem([&](const PassProblem& problem) {
      bool dense = false;
      for (int i = 1; i <= 64; ++i) {
        const bool dense_now = choice_at(problem, i / 64.0, machine) == Choice::native;
        REQUIRE((dense_now || !dense));
        dense = dense_now;
      }
      const double limit = break_even_density(problem, machine);
      REQUIRE(choice_at(problem, limit, machine) == Choice::sparse);
      REQUIRE(choice_at(problem, std::nextafter(limit, 2), machine) == Choice::native);
    });
}

TEST_CASE("kernel rule: the answer depends on the arguments alone") {
  std::vector<PassProblem> problems;
  for_each_problem([&](const PassProblem& problem) { problems.push_back(problem); });
  const auto all = machines();
  const RandomStream random(4, Purpose::test);
  std::vector<double> limits;
  const auto limit_of = [&](size_t i) {
    PassProblem problem = problems[random.word(2 * i) % problems.size()];
    problem.density = random.uniform(i);  // plays no part
    return break_even_density(problem, all[random.word(2 * i + 1) % all.size()]);
  };
  constexpr size_t kCalls = 5000;
  for (size_t i = 0; i < kCalls; ++i)
    limits.push_back(limit_of(i));
  for (size_t i = kCalls; i-- > 0;)  // in another order
    REQUIRE(limit_of(i) == limits[i]);
}

TEST_CASE("kernel rule: Winograd's algorithm is harder to beat than direct kernels") {
  for (const Machine& machine : machines())
    for_each_problem([&](const PassProblem& problem) {
      PassProblem direct = problem;
      direct.winograd = false;
      const kernels::Conv2dShape& shape = problem.shape;
      const bool possible = problem.winograd && kernels::winograd_fits(shape) &&
                            std::min(shape.in.channels, shape.out.channels) >= 16;
      if (possible)
        REQUIRE(break_even_density(problem, machine) <= break_even_density(direct, machine));
    });
}

TEST_CASE("kernel rule: cache sizes count by class") {
  const auto class_of = [](int64_t kib) { return cache_class(kib << 10); };
  CHECK(class_of(256) == CacheClass::half_mib);
  CHECK(class_of(512) == CacheClass::half_mib);
  CHECK(class_of(1024) == CacheClass::one_mib);
  CHECK(class_of(1280) == CacheClass::one_mib);
  CHECK(class_of(2048) == CacheClass::two_mib);
  CHECK(class_of(4096) == CacheClass::two_mib);
  CHECK(class_of(0) == CacheClass::half_mib);  // unknown
  // Sizes within a class give the same answer.
  for_each_problem([&](const PassProblem& problem) {
    REQUIRE(break_even_density(problem, {"cpu-avx2", 256 << 10, 2}) ==
            break_even_density(problem, {"cpu-avx2", 512 << 10, 2}));
  });
}

TEST_CASE("kernel rule: rows that were not measured say so") {
  CHECK(rule_was_measured({"cpu-avx2", 512 << 10, 2}));
  CHECK_FALSE(rule_was_measured({"cpu-avx512", 2 << 20, 2}));
  CHECK_FALSE(rule_was_measured({"cpu-avx2", 2 << 20, 2}));
  CHECK_FALSE(rule_was_measured({"cpu-of-next-year", 512 << 10, 2}));
}

TEST_CASE("kernel rule: this machine") {
  const Machine machine = this_machine(kernels::cpu_backend().name);
  CHECK(machine.backend == kernels::cpu_backend().name);
  CHECK(machine.l2_bytes == kernels::cpu_caches().l2);
  CHECK(machine.threads == thread_count());
}

}  // namespace
}  // namespace sculpt::ops
