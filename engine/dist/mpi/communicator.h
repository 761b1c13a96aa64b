#pragma once
// The communicator of a run on several ranks.

#include <memory>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/launch.h"

namespace sculpt::mpi {

/// Starts MPI. Throws Error if MPI does not see the ranks that the launcher has started.
std::unique_ptr<Communicator> open(const Launch& launch, const DistOptions& options);

}  // namespace sculpt::mpi
