#pragma once

#include "kernels/pruning.h"

namespace sculpt::kernels {

/// The pruning kernels of the backends whose kernels work on the host's memory, for arenas of
/// float.
PruningKernels host_pruning_kernels();

}  // namespace sculpt::kernels
