#pragma once
// The non-blocking collectives of MPI that compute one operation.

#include <mpi.h>
#include <vector>

#include "engine/dist/carrier.h"

namespace sculpt::mpi {

class Collective : public Transfer {
 public:
  /// Starts the collectives. Throws Error if MPI refuses them.
  Collective(const Operation& operation, MPI_Comm communicator);
  bool test() override;

 private:
  void start(MPI_Comm communicator);
  template <class Start>
  void start_pieces(int64_t element_bytes, const Start& start);
  void start_gather(MPI_Comm communicator);

  const Operation& operation_;
  std::vector<MPI_Request> requests_;
  std::vector<int> sizes_, offsets_;  ///< of a collection of texts, as MPI wants them
};

}  // namespace sculpt::mpi
