#pragma once
// Whole training steps of masked networks: kernels that skip masked weights against dense ones.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Prints a table over sparsities: for each, both run in turn in blocks of at least
/// `least_seconds`, `rounds` times, with the same random mask (as many weights of every layer
/// kept).
void print_sparse_steps(const StepOptions& options, int rounds, double least_seconds);

}  // namespace sculpt::bench
