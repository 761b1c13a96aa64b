#pragma once
// Compares whole training steps of masked networks with kernels chosen by timing (execution.sparse
// = "tuned") and by the rule ("auto").

#include <vector>

#include "apps/sculpt_bench/masks.h"

namespace sculpt::bench {

/// Prints a table with a row for each masked network: its sparsity; the median times of steps with
/// tuned and with ruled kernels, which alternate for `rounds` blocks of at least `least_seconds`
/// each; the median, lowest and highest of the rounds' ratios; and the passes of layers for which
/// the two chose different kernels. If they chose the same kernels, the steps are the same, and
/// their ratio shows how noisy the machine is. Throws Error on a backend without sparse kernels.
void print_choices(const std::vector<MaskedModel>& models, int rounds, double least_seconds);

}  // namespace sculpt::bench
