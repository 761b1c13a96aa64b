#pragma once
// Connects the ranks of a run:
//
//   1. Rank 0 listens. Every other rank connects to it, says who it is, and is welcomed.
//   2. When all have come, rank 0 tells all of them where each rank listens.
//   3. Each rank but 0 and 1 connects to the rank before it, and tells rank 0 when it is ready.
//   4. When all are ready, rank 0 lets them go.

#include <chrono>

#include "engine/dist/sockets/rendezvous.h"
#include "engine/dist/sockets/team.h"

namespace sculpt::sockets {

/// Returns the connections of this rank. Throws RankMissing if a rank has not come within `limit`
/// (0: no limit), or has gone; Error if two ranks do not fit together; and EndedByOthers if another
/// rank has said so.
Team meet(const Rendezvous& rendezvous, int rank, int size, std::chrono::duration<double> limit);

}  // namespace sculpt::sockets
