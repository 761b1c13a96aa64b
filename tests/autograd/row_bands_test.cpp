// Steps run some rows at a time. The tests compare them with what each row reads, row by row.

#include "engine/autograd/blocks/row_bands.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <random>
#include <vector>

namespace sculpt {
namespace {

using Dependency = BandStep::Wait::Dependency;

/// Returns true if row `row` of a step reads row `other` of the step that it waits for.
bool reads(const BandStep::Wait& wait, int64_t row, int64_t other) {
  const auto& [step, dependency, window] = wait;
  const auto in_window = [&](int64_t out, int64_t in) {
    const int64_t first = out * window.stride - window.padding;
    return first <= in && in < first + window.kernel;
  };
  if (dependency == Dependency::window) return in_window(row, other);
  if (dependency == Dependency::transpose) return in_window(other, row);
  return row == other;
}

int64_t random_in(std::mt19937_64& random, int64_t from, int64_t to) {
  return std::uniform_int_distribution<int64_t>(from, to)(random);
}

/// Returns a step that waits for some of the steps in `before`, row by row or through a window.
BandStep random_step(std::mt19937_64& random, const std::vector<BandStep>& before) {
  BandStep step;
  step.multiple = random_in(random, 1, 6);
  step.rows = random_in(random, 1, 40);
  if (before.empty() || random_in(random, 0, 4) == 0) return step;
  const auto first = static_cast<int>(random_in(random, 0, std::ssize(before) - 1));
  const int64_t rows = before[static_cast<size_t>(first)].rows;
  RowWindow window;
  window.stride = random_in(random, 1, 3);
  window.kernel = window.stride + random_in(random, 0, 4);
  window.padding = random_in(random, 0, window.kernel / 2);
  const int64_t outputs = (rows + 2 * window.padding - window.kernel) / window.stride + 1;
  switch (random_in(random, 0, 2)) {
    case 0:
      step.rows = rows;
      step.waits.push_back({first, Dependency::same_row, {}});
      break;
    case 1:
      if (outputs < 1) break;
      step.rows = outputs;
      step.waits.push_back({first, Dependency::window, window});
      break;
    default:
      // The earlier step counts rows of the output, and this step counts rows of the inputs.
      // Several numbers of input rows give the same number of output rows.
      step.rows = (rows - 1) * window.stride + window.kernel - 2 * window.padding +
                  random_in(random, 0, window.stride - 1);
      if (step.rows < 1)
        step.rows = 1;
      else
        step.waits.push_back({first, Dependency::transpose, window});
  }
  for (size_t other = 0; other < before.size(); ++other)
    if (before[other].rows == step.rows && random_in(random, 0, 2) == 0)
      step.waits.push_back({static_cast<int>(other), Dependency::same_row, {}});
  return step;
}

TEST_CASE("row bands: every row runs once, after the rows that it reads") {
  std::mt19937_64 random(20);
  for (int trial = 0; trial < 500; ++trial) {
    CAPTURE(trial);
    std::vector<BandStep> steps;
    for (int64_t count = random_in(random, 1, 6); count > 0; --count)
      steps.push_back(random_step(random, steps));
    std::vector<int64_t> scratch(steps.size(), -1), done(steps.size(), 0);
    run_bands(steps, random_in(random, 1, 12), scratch, [&](size_t s, kernels::RowRange rows) {
      const BandStep& step = steps[s];
      REQUIRE(rows.begin == done[s]);
      REQUIRE(rows.end > rows.begin);
      REQUIRE((rows.end == step.rows || rows.end % step.multiple == 0));
      int64_t too_early = 0;
      for (const BandStep::Wait& wait : step.waits) {
        const auto before = static_cast<size_t>(wait.step);
        for (int64_t row = rows.begin; row < rows.end; ++row)
          for (int64_t other = done[before]; other < steps[before].rows; ++other)
            too_early += reads(wait, row, other);
      }
      REQUIRE(too_early == 0);
      done[s] = rows.end;
    });
    for (size_t s = 0; s < steps.size(); ++s)
      REQUIRE(done[s] == steps[s].rows);
  }
}

TEST_CASE("row bands: steps follow one another closely") {
  // A 3x3 convolution behind an elementwise step, in bands of 2 rows: the convolution stays one row
  // behind.
  const std::vector<BandStep> steps = {
      {.rows = 16, .multiple = 2, .waits = {}},
      {.rows = 16, .multiple = 2, .waits = {{0, Dependency::window, {3, 1, 1}}}}};
  std::vector<int64_t> scratch(2);
  int64_t made = 0, most = 0;
  run_bands(steps, 8, scratch, [&](size_t s, kernels::RowRange rows) {
    if (s == 0) made = rows.end;
    if (s == 1) most = std::max(most, made - rows.begin);
  });
  CHECK(made == 16);
  CHECK(most == 4);
}

}  // namespace
}  // namespace sculpt
