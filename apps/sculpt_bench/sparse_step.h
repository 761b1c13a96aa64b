#pragma once
// Compares whole training steps of masked networks on kernels that skip masked weights and on dense
// kernels.

#include "apps/sculpt_bench/masks.h"
#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

struct SparseStepOptions {
  int rounds = 5;            ///< blocks of steps of each kind, alternating
  double least_seconds = 1;  ///< shortest length of a block
  bool layers = false;       ///< true: also times each convolution and pass separately
  double layer_seconds = 0.01;
};

/// Prints a table with a row for each masked network: its sparsity (of all weights, of its densest
/// and of its sparsest layer), the times of both kinds of steps, which alternate, and the floors of
/// a step that multiplies only kept weights (machine_rates.h). With `layers`, a table of the
/// convolutions follows for each network.
void print_sparse_steps(const std::vector<MaskedModel>& models, const SparseStepOptions& options);

}  // namespace sculpt::bench
