#include "engine/dist/open_communicator.h"

#include "engine/dist/mpi.h"
#include "engine/dist/single.h"
#include "engine/dist/sockets/carrier.h"
#include "engine/dist/worker_communicator.h"

namespace sculpt {

std::unique_ptr<Communicator> open_communicator(const Launch& launch, const DistOptions& options) {
  if (launch.size == 1) return single_communicator();
  const auto rendezvous = sockets::find_rendezvous(process_environment());
  if (!rendezvous) return mpi_communicator(launch, options);
  auto communicator = std::make_unique<WorkerCommunicator>(
      std::make_unique<sockets::SocketCarrier>(launch.rank, launch.size, *rendezvous), options);
  communicator->meet();
  return communicator;
}

}  // namespace sculpt
