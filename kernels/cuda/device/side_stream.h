#pragma once
// The stream of collectives.

#include "kernels/collectives.h"

namespace sculpt::kernels::cuda {

/// Returns the functions of the side stream, which is created at the first call of one of them, and
/// not while the backend's stream is being recorded.
const SideStream& side_stream();

}  // namespace sculpt::kernels::cuda
