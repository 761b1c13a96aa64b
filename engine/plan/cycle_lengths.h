#pragma once
// Divides a total number of epochs between the cycles of a run.
//
// Cycle k of C gets a share proportional to
//
//   constant              1
//   linear_increase       k + 1
//   linear_decrease       C - k
//   exponential_increase  8 ^ (k / (C - 1)): the last cycle is 8 times the first
//   exponential_decrease  8 ^ (1 - k / (C - 1))
//   peak                  min(k + 1, C - k): longest in the middle
//   alternating           1, 2, 1, 2, ...
//   plateau               min(k + 1, ceil(C / 2)): grows for half of the cycles, then constant
//
// and at least 1 epoch. Counts are rounded by largest remainder (ties: earlier cycle), so that
// their sum is exactly the total.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sculpt {

struct EpochSpread {
  std::string_view name;
  double (*share)(int64_t cycle, int64_t cycles);
  std::string_view help;
};

std::span<const EpochSpread> epoch_spreads();

/// Returns the number of epochs of each cycle; their sum is `total`. Throws Error if total < cycles
/// or the name is unknown.
std::vector<int64_t> spread_epochs(std::string_view name, int64_t total, int64_t cycles);

}  // namespace sculpt
