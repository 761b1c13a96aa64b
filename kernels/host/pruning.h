#pragma once

#include "kernels/pruning.h"

namespace sculpt::kernels {

/// The pruning kernels of all backends whose kernels work on the host's memory. T is the type of
/// the arena's elements, float or double.
template <class T>
PruningKernels host_pruning_kernels();

}  // namespace sculpt::kernels
