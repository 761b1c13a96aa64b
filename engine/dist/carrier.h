#pragma once
// A carrier takes the messages of a rank to the other ranks. The communication thread (worker.h)
// uses it, and is the same for all carriers: MPI (mpi/) and sockets (sockets/).

#include <chrono>
#include <functional>
#include <memory>
#include <poll.h>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/dist/liveness.h"
#include "engine/dist/operation.h"

namespace sculpt {

/// Operations of the same channel are started in the same order on every rank. Those of different
/// channels are not.
enum class Channel { calls, pending_sums };

/// An operation that is under way.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Goes on with the operation without waiting. Returns true if it is complete on this rank.
  /// Throws Error if it has failed.
  virtual bool test() = 0;
};

/// A rank has not come, or has gone while the ranks were connecting.
class RankMissing : public Error {
 public:
  using Error::Error;
};

/// Another rank has ended all ranks, and has said why.
struct EndedByOthers {
  int exit_code = 0;
};

/// The communication thread calls all functions, except where a comment says otherwise. No function
/// but connect() and finish() waits.
class Carrier {
 public:
  virtual ~Carrier() = default;
  Carrier() = default;
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;

  /// Returns the carrier's name in messages: "MPI".
  virtual std::string name() const = 0;
  /// Connects the ranks. Throws Error if that fails, RankMissing if a rank has not come within
  /// `limit`, and EndedByOthers.
  virtual void connect(std::chrono::duration<double> limit) = 0;
  /// Returns true if connect() may take longer than its limit.
  virtual bool may_hang() const = 0;

  // After connect(), any thread may ask these.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// See Communicator::library().
  virtual std::string library() const = 0;
  /// Returns the beginning of Communicator::description().
  virtual std::string description() const = 0;

  /// Starts an operation. Its arrays stay where they are until it is complete. Throws Error if it
  /// cannot be started.
  virtual std::unique_ptr<Transfer> start(const Operation& operation, Channel channel) = 0;
  /// Sends and receives what can be sent and received now, for all operations. Throws
  /// EndedByOthers.
  virtual void progress() {}
  /// Returns the ranks that have gone without finishing, where the carrier notices.
  virtual std::vector<int> gone() const { return {}; }
  /// Adds the files that are ready when progress() has something to do.
  virtual void add_files(std::vector<pollfd>&) const {}

  /// Sends a heartbeat: rank 0 to all other ranks, these to rank 0. Leaves out a rank to which the
  /// previous heartbeat is still on its way.
  virtual void send(const Heartbeat& beat) = 0;
  using Hear = std::function<void(int from, const Heartbeat& beat)>;
  /// Passes on all heartbeats that have arrived.
  virtual void receive(const Hear& hear) = 0;

  /// Ends the connection in order, after all ranks have come to the end.
  virtual void finish() = 0;
  /// Ends all ranks and this process.
  virtual void end_all_ranks(int exit_code) = 0;
};

}  // namespace sculpt
