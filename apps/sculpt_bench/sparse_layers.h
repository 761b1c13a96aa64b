#pragma once
// Compares dense kernels with kernels that skip masked weights on each convolution of a masked
// network, for the forward pass and both gradients.

#include "engine/nn/network.h"

namespace sculpt::bench {

/// Prints a table of the convolutions that have a masked weight, and the sums of their times. The
/// network must have run a step; its activations and gradients are overwritten. Throws Error on a
/// backend without sparse kernels.
void print_sparse_layers(Network& network, int rounds, double least_seconds);

}  // namespace sculpt::bench
