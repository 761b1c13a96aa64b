#pragma once
// The GPU of this process and its collectives, in programs that need them: those of NCCL on a
// machine with a GPU, those of the stand-in on the host layer.

#include "engine/dist/gpu_ranks.h"
#include "kernels/device/backend.h"

namespace sculpt::test {

/// Returns the backend with full precision.
const kernels::Backend& gpu_backend();
RankGpu rank_gpu();
/// Returns null if there are none; `problem` then says why.
const kernels::Collectives* gpu_collectives(std::string& problem);

}  // namespace sculpt::test
