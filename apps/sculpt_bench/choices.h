#pragma once
// Whole training steps of masked networks: kernels chosen by timing (train.sparse = "tuned")
// against kernels chosen by the rule ("auto").

#include <vector>

#include "apps/sculpt_bench/masks.h"

namespace sculpt::bench {

/// Prints a table with a row for each masked network: how sparse it is, the median times of steps
/// with tuned and with ruled kernels, which alternate for `rounds` blocks of at least
/// `least_seconds` each, the median, lowest and highest of the rounds' ratios, and the passes of
/// layers that the two choose differently. Where they choose alike the steps are the same, and
/// their ratio shows how noisy the machine is. Throws Error on a backend without sparse kernels.
void print_choices(const std::vector<MaskedModel>& models, int rounds, double least_seconds);

}  // namespace sculpt::bench
