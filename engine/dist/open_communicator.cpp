#include "engine/dist/open_communicator.h"

#include "engine/dist/mpi.h"
#include "engine/dist/single.h"

namespace sculpt {

std::unique_ptr<Communicator> open_communicator(const Launch& launch, const DistOptions& options) {
  if (launch.size == 1) return single_communicator();
  return mpi_communicator(launch, options);
}

}  // namespace sculpt
