#pragma once
// Carries the messages of the ranks over sockets of TCP, with nothing but the system.

#include <utility>
#include <vector>

#include "engine/dist/carrier.h"
#include "engine/dist/sockets/rendezvous.h"
#include "engine/dist/sockets/team.h"

namespace sculpt::sockets {

class SocketCarrier : public Carrier {
 public:
  SocketCarrier(int rank, int size, const Rendezvous& rendezvous);

  std::string name() const override { return "the connection by sockets"; }
  void connect(std::chrono::duration<double> limit) override;
  bool may_hang() const override { return false; }

  int rank() const override { return team_.rank; }
  int size() const override { return team_.size; }
  std::string library() const override;
  std::string description() const override { return "sockets"; }

  std::unique_ptr<Transfer> start(const Operation& operation, Channel channel) override;
  void progress() override;
  std::vector<int> gone() const override;
  void add_files(std::vector<pollfd>& files) const override { sockets::add_files(team_, files); }

  void send(const Heartbeat& beat) override;
  void receive(const Hear& hear) override;

  void finish() override;
  void end_all_ranks(int exit_code) override;

 private:
  void take_messages(int from);

  const Rendezvous rendezvous_;
  Team team_;
  int64_t started_[2] = {};                       ///< operations so far, by channel
  std::vector<std::pair<int, Heartbeat>> beats_;  ///< that have arrived, with their rank
  std::vector<bool> left_;                        ///< by rank: true if it has ended in order
};

}  // namespace sculpt::sockets
