#pragma once
// Sends and receives heartbeats: rank 0 exchanges them with every other rank.

#include <mpi.h>
#include <vector>

#include "engine/dist/liveness.h"

namespace sculpt::mpi {

/// All calls come from the communication thread. None of them waits.
class Heartbeats {
 public:
  using Clock = Liveness::Clock;

  Heartbeats(int rank, int size, Clock::duration interval, Clock::time_point now);

  /// Passes all heartbeats that have arrived to `liveness`.
  void receive(Liveness& liveness, Clock::time_point now);
  /// Returns true if it is time to send.
  bool due(Clock::time_point now) const { return now >= next_; }
  /// Sends `beat`. Leaves out a rank to which the previous heartbeat is still on its way.
  void send(const Heartbeat& beat, Clock::time_point now);
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
  const Clock::duration interval_;
  Clock::time_point next_;
  std::vector<Outgoing> outgoing_;
  Heartbeat incoming_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace sculpt::mpi
