#pragma once
// Sends and receives heartbeats: rank 0 exchanges them with every other rank.

#include <mpi.h>
#include <vector>

#include "engine/dist/carrier.h"

namespace sculpt::mpi {

/// All calls come from the communication thread. None of them waits.
class Heartbeats {
 public:
  Heartbeats(int rank, int size);

  /// Passes on all heartbeats that have arrived.
  void receive(const Carrier::Hear& hear);
  /// Sends `beat`. Leaves out a rank to which the previous heartbeat is still on its way.
  void send(const Heartbeat& beat);
  /// Ends the exchange after all ranks have come to the end.
  void close();

 private:
  struct Outgoing {
    int to = 0;
    Heartbeat beat;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void start_receive();

  const int rank_;
  std::vector<Outgoing> outgoing_;
  Heartbeat incoming_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace sculpt::mpi
