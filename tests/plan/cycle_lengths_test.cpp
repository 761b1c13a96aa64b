#include "engine/plan/cycle_lengths.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <numeric>
#include <string>

#include "engine/core/error.h"
#include "engine/plan/cycle_options.h"

using namespace sculpt;
using Epochs = std::vector<int64_t>;

TEST_CASE("cycle lengths: every strategy spends exactly the budget, at least one epoch a cycle") {
  for (const auto& name : epoch_spread_names())
    for (int64_t cycles = 1; cycles <= 40; ++cycles)
      for (const int64_t extra : {0, 1, 2, 3, 7, 29, 100, 999, 12345}) {
        const Epochs epochs = spread_epochs(name, cycles + extra, cycles);
        const bool right =
            std::ssize(epochs) == cycles && std::ranges::min(epochs) >= 1 &&
            std::accumulate(epochs.begin(), epochs.end(), int64_t{0}) == cycles + extra;
        if (!right) {
          CAPTURE(name);
          CAPTURE(cycles);
          CAPTURE(extra);
          CHECK(right);
        }
      }
}

TEST_CASE("cycle lengths: every strategy has its shape") {
  const std::map<std::string, Epochs> expected = {
      {"constant", {25, 25, 25, 25}},
      {"linear_increase", {10, 20, 30, 40}},
      {"linear_decrease", {40, 30, 20, 10}},
      // shares 1 2 4 8 of 100: 6.67, 13.33, 26.67, 53.33
      {"exponential_increase", {7, 13, 27, 53}},
      {"exponential_decrease", {53, 27, 13, 7}},
      // shares 1 2 2 1: 16.67, 33.33, 33.33, 16.67
      {"peak", {17, 33, 33, 17}},
      // shares 1 2 1 2
      {"alternating", {17, 33, 17, 33}},
      // shares 1 2 2 2: 14.29, 28.57, 28.57, 28.57
      {"plateau", {14, 29, 29, 28}},
  };
  for (const auto& name : epoch_spread_names()) {
    CAPTURE(name);
    REQUIRE(expected.count(name) == 1);
    CHECK(spread_epochs(name, 100, 4) == expected.at(name));
  }
}

TEST_CASE("cycle lengths: the minimum of one epoch is taken from the others in proportion") {
  // shares 1..5 of 6 epochs: the first three would get less than 1.
  CHECK(spread_epochs("linear_increase", 6, 5) == Epochs{1, 1, 1, 1, 2});
  CHECK(spread_epochs("constant", 7, 3) == Epochs{3, 2, 2});
}

TEST_CASE("cycle lengths: a budget below one epoch a cycle is refused with the fix") {
  CHECK_THROWS_WITH_AS(spread_epochs("peak", 4, 5), doctest::Contains("cycles.total_epochs"),
                       Error);
  CHECK_THROWS_WITH_AS(spread_epochs("peek", 10, 5), doctest::Contains("alternating"), Error);
}
