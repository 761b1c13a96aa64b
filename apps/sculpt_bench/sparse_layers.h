#pragma once
// Compares dense kernels with kernels that skip masked weights on each convolution of a masked
// network, for the forward pass and both gradients.

#include "apps/sculpt_bench/machine_rates.h"
#include "engine/nn/network.h"

namespace sculpt::bench {

struct SparseLayerOptions {
  int rounds = 5;
  double least_seconds = 0.01;
  bool winograd = true;  ///< the setting of that name of the steps (LayerExecution)
  MachineRates rates;
};

/// Prints a table with a row for each pass of each convolution that has a masked weight, and the
/// sums of their times. The network must have run a step; its activations and gradients are
/// overwritten. Throws Error on a backend without sparse kernels.
void print_sparse_layers(Network& network, const SparseLayerOptions& options);

}  // namespace sculpt::bench
