#pragma once

#include "kernels/pruning.h"

namespace sculpt::kernels {

/// Of all backends whose kernels work on the host's memory. T: elements of the arena, float or
/// double.
template <class T>
PruningKernels host_pruning_kernels();

}  // namespace sculpt::kernels
