#pragma once
// Compares Winograd's algorithm with direct kernels on each convolution of a network.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Prints a table of the model's different 3x3 convolutions of stride 1 and padding 1, in each of
/// their passes. Columns: the median milliseconds of both kernels, which alternate for `rounds`
/// blocks of at least `least_seconds` each; the median of the rounds' ratios; whether the backend
/// considers Winograd faster; and the relative error (L2) of both against sums in double, on 16
/// images. All arrays hold standard normal numbers.
void print_conv_layers(const StepOptions& options, int rounds, double least_seconds);

}  // namespace sculpt::bench
