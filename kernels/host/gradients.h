#pragma once

#include "kernels/gradients.h"

namespace sculpt::kernels {

/// The kernels of the backends whose kernels work on the host's memory and whose parameters are
/// float.
GradientKernels host_gradient_kernels();

}  // namespace sculpt::kernels
