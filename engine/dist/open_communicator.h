#pragma once
// Opens the communicator of this process.

#include <memory>

#include "engine/dist/communicator.h"
#include "engine/dist/dist_options.h"
#include "engine/dist/launch.h"

namespace sculpt {

/// Returns the communicator of this process: single_communicator() for a run with one rank; for
/// more ranks, one over sockets if the variable SCULPT_RENDEZVOUS tells how the ranks find each
/// other (sockets/rendezvous.h), and mpi_communicator() otherwise. MPI is loaded in the last case
/// only. Throws Error if the ranks cannot be connected.
std::unique_ptr<Communicator> open_communicator(const Launch& launch, const DistOptions& options);

}  // namespace sculpt
