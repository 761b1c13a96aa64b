#pragma once
// The density up to which kernels that skip masked weights beat dense kernels, for each different
// layer of a network and each pass: the measurement behind the table in
// engine/ops/kernel_rule_table.h.

#include <vector>

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct BreakEvenOptions {
  /// Densities of the uniform random masks that are timed.
  std::vector<double> densities = {0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05};
  int repeats = 1;  ///< timings of each problem; the least times count
};

/// Prints a table with a row for each different layer and pass: the time of the dense kernels that
/// train.winograd and the shape give, the times of sparse kernels at each density, the break-even
/// density between them, and the one that the rule holds. Throws Error on a backend without sparse
/// kernels.
void print_break_even(const StepOptions& options, const BreakEvenOptions& break_even);

}  // namespace sculpt::bench
