#pragma once

#include "kernels/ranking.h"

namespace sculpt::kernels {

/// The ranking kernels of the backends whose kernels work on the host's memory. The reference
/// backend has its own.
RankingKernels host_ranking_kernels();

}  // namespace sculpt::kernels
