#pragma once
// Measures, for each different layer of a network and each pass, the density up to which kernels
// that skip masked weights are faster than dense kernels. The table in
// engine/ops/kernel_rule_table.h comes from this measurement.

#include <vector>

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct BreakEvenOptions {
  /// The densities of the uniform random masks that are timed.
  std::vector<double> densities = {0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05};
  int repeats = 1;  ///< timings of each problem, of which the shortest counts
};

/// Prints a table with a row for each different layer and pass: the time of the dense kernels that
/// execution.winograd and the shape select, the times of sparse kernels at each density, the
/// measured break-even density, and the break-even density of the rule. Throws Error on a backend
/// without sparse kernels.
void print_break_even(const StepOptions& options, const BreakEvenOptions& break_even);

}  // namespace sculpt::bench
