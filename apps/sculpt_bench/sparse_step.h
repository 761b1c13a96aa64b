#pragma once
// Whole training steps of masked networks: kernels that skip masked weights against dense ones.

#include "apps/sculpt_bench/masks.h"
#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct SparseStepOptions {
  int rounds = 5;            ///< blocks of steps of each, in turn
  double least_seconds = 1;  ///< of a block
  bool layers = false;       ///< also each convolution and pass by itself
  double layer_seconds = 0.01;
};

/// Prints a table with a row for each of the masked networks: how sparse it is, all together and
/// its densest and sparsest layer, and steps of both, in turn. With `layers` a table of these
/// follows for each.
void print_sparse_steps(const std::vector<MaskedModel>& models, const SparseStepOptions& options);

}  // namespace sculpt::bench
