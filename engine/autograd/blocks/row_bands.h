#pragma once
// Takes the rows of a block of images through several steps, a few rows at a time. Each step runs
// as far as the steps that it waits for allow.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/common/layout.h"

namespace sculpt {

/// The rows of a node's inputs that row r of its output depends on: `kernel` rows, starting at row
/// r * stride - padding.
struct RowWindow {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
};

/// A step of a group, and the earlier steps that it waits for. All counts are numbers of rows from
/// the top.
struct BandStep {
  /// States that an earlier step must run first, and how its rows limit the rows of this step.
  struct Wait {
    enum class Dependency {
      same_row,  ///< row r runs after row r of the earlier step
      window,    ///< row r of the output runs after the input rows in its window
      transpose  ///< row r of the inputs runs after all output rows whose windows contain it
    };
    int step = 0;  ///< index of an earlier step
    Dependency dependency = Dependency::same_row;
    RowWindow window = {};
  };

  int64_t rows = 1;
  int64_t multiple = 1;  ///< runs in multiples of this many rows, except the last call
  std::vector<Wait> waits;
};

/// Returns the number of rows that `step` may have completed when the earlier steps have completed
/// `done` rows.
int64_t ready_rows(std::span<const BandStep> steps, size_t step, std::span<const int64_t> done);

/// Calls run(step, RowRange) until all rows of all steps are done. In each of `rounds` rounds, a
/// step that waits for no other step runs an equal share of its rows. done: scratch for the number
/// of completed rows per step, as long as `steps`.
template <class Run>
void run_bands(std::span<const BandStep> steps, int64_t rounds, std::span<int64_t> done,
               const Run& run) {
  std::ranges::fill(done, 0);
  for (int64_t round = 1; round <= rounds; ++round)
    for (size_t s = 0; s < steps.size(); ++s) {
      const BandStep& step = steps[s];
      int64_t ready = std::min(step.rows * round / rounds, ready_rows(steps, s, done));
      if (ready < step.rows) ready -= ready % step.multiple;
      if (ready <= done[s]) continue;
      run(s, kernels::RowRange{done[s], ready});
      done[s] = ready;
    }
}

}  // namespace sculpt
