#pragma once
// Carries the messages of the ranks by MPI. All calls of MPI, from its start to its end, happen in
// the communication thread.

#include <mpi.h>
#include <optional>
#include <string>

#include "engine/dist/carrier.h"
#include "engine/dist/mpi/heartbeats.h"

namespace sculpt::mpi {

class MpiCarrier : public Carrier {
 public:
  std::string name() const override { return "MPI"; }
  /// Starts MPI. MPI itself decides how long that takes.
  void connect(std::chrono::duration<double> limit) override;
  bool may_hang() const override { return true; }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  /// Returns the short form of what MPI_Get_library_version says.
  std::string library() const override { return library_; }
  std::string description() const override { return library_; }

  std::unique_ptr<Transfer> start(const Operation& operation, Channel channel) override;

  void send(const Heartbeat& beat) override { heartbeats_->send(beat); }
  void receive(const Hear& hear) override { heartbeats_->receive(hear); }

  void finish() override;
  /// Calls MPI_Abort. If MPI_Abort does not return, the process ends by itself.
  void end_all_ranks(int exit_code) override;

 private:
  void start_mpi();

  int rank_ = 0, size_ = 1;
  std::string library_;
  MPI_Comm pending_sums_ = MPI_COMM_NULL;  ///< of all ranks, for pending sums only
  std::optional<Heartbeats> heartbeats_;
};

}  // namespace sculpt::mpi
