#pragma once
// Sparse-aware initialisation: fresh weights whose scale follows the inputs that a neuron keeps.

#include "engine/parameters/kept_pattern.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// Multiplies the kept weights of each output neuron (a row of a linear weight, an output channel
/// of a convolution) of the prunable layers by sqrt(kept before / kept now), where `before` is the
/// mask before a prune. If the weights had the standard deviation gain / sqrt(kept before), they
/// have gain / sqrt(kept now) afterwards (Evci et al. 2022). A neuron that keeps nothing, or as
/// many weights as before, stays as it is. The arena becomes dense.
void rescale_to_kept_fan(ParameterArena& parameters, const KeptPattern& before);

}  // namespace sculpt
