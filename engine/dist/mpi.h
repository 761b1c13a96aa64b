#pragma once
// Communicators of several ranks, by MPI. The library that links MPI is loaded on demand, so that
// programs run without MPI.

#include <memory>
#include <string>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/launch.h"

namespace sculpt {

/// Returns why this program cannot communicate by MPI: it was built without MPI, or a library is
/// missing. Returns "" if it can.
std::string mpi_problem();

/// Starts MPI. Throws Error if mpi_problem() is not "", or if MPI does not see the ranks that the
/// launcher has started. Call it once, and from the thread that uses the communicator.
std::unique_ptr<Communicator> mpi_communicator(const Launch& launch, const DistOptions& options);

}  // namespace sculpt
