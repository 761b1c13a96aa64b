#pragma once
// Rows of a block of images going through several steps a few at a time: each step runs as far as
// those before it have come.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/common/layout.h"

namespace sculpt {

/// The rows of a node's inputs that row r of its output depends on: `kernel` of them, from
/// r * stride - padding on.
struct RowWindow {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
};

/// A step that waits for others. All counts are of rows from the top.
struct BandStep {
  /// What must be done before: of another step, and through which window.
  struct Wait {
    enum class Dependency {
      same_row,  ///< row r after row r
      window,    ///< row r of the output after the inputs' rows in its window
      transpose  ///< row r of the inputs after the output's rows whose windows have it
    };
    int step = 0;  ///< index of an earlier step
    Dependency dependency = Dependency::same_row;
    RowWindow window = {};
  };

  int64_t rows = 1;
  int64_t multiple = 1;  ///< runs so many rows at a time; the last ones in any number
  std::vector<Wait> waits;
};

/// The rows that `step` may have run when those before it have run `done` of theirs.
int64_t ready_rows(std::span<const BandStep> steps, size_t step, std::span<const int64_t> done);

/// Calls run(step, RowRange) until all rows of all steps are done. Steps that wait for none get
/// their share of rows in each of `rounds`. done: scratch, as long as `steps`.
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
