#pragma once
// Convolutions of a network one by one: Winograd's algorithm against direct kernels.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Prints a table of the model's different 3x3 convolutions of stride 1 and padding 1, in each of
/// their passes: milliseconds of both kernels, run in turn `rounds` times for at least
/// `least_seconds` each, medians and the median of the rounds' ratios; whether the backend holds
/// Winograd to be faster; and the relative error (L2) of both against sums in double, on 16 images.
/// All arrays hold standard normal numbers.
void print_conv_layers(const StepOptions& options, int rounds, double least_seconds);

}  // namespace sculpt::bench
