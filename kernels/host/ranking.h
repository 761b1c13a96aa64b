#pragma once

#include "kernels/ranking.h"

namespace sculpt::kernels {

/// The ranking kernels of all backends whose kernels work on the host's memory.
RankingKernels host_ranking_kernels();

}  // namespace sculpt::kernels
