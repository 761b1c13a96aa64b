#pragma once

#include "kernels/indexed_copy.h"

namespace sculpt::kernels {

/// The kernels of the backends whose kernels work on the host's memory and whose parameters are
/// float.
IndexedCopyKernels host_indexed_copy_kernels();

}  // namespace sculpt::kernels
