#pragma once
// Connects to another rank. The rank may not listen yet, and some of its addresses may lead
// nowhere or to somebody else, so all of them are tried again and again.

#include <chrono>
#include <functional>
#include <memory>
#include <poll.h>
#include <string>
#include <vector>

#include "engine/dist/sockets/link.h"

namespace sculpt::sockets {

class Caller {
 public:
  /// `find` returns the addresses of the rank, or none with a reason in `problem`. `hello` returns
  /// what to say over a new connection.
  using Find = std::function<std::vector<Address>(std::string& problem)>;
  using SayHello = std::function<std::string(const Socket& connection)>;
  Caller(Find find, SayHello hello) : find_(std::move(find)), hello_(std::move(hello)) {}

  /// Goes on without waiting. Returns the link when the rank has welcomed this one, else null.
  /// Throws EndedByOthers if the rank ends all ranks.
  std::unique_ptr<Link> step();
  /// Returns what poll() has to wait for.
  pollfd file() const;

  /// Returns why the addresses of the last round have failed.
  const std::string& problem() const { return problem_; }
  /// Returns what a rank that refused this one has said; "" if none has.
  const std::string& refusal() const { return refusal_; }

 private:
  using Clock = std::chrono::steady_clock;

  void call_next();
  void give_up(const std::string& reason);

  const Find find_;
  const SayHello hello_;
  std::vector<Address> addresses_;  ///< of this round
  size_t tried_ = 0;
  Clock::time_point next_round_;
  Clock::time_point called_;    ///< when the call that is under way began
  Socket connecting_;           ///< not yet connected
  std::unique_ptr<Link> link_;  ///< connected, not yet welcome
  std::string problem_, problems_of_round_, refusal_;
};

}  // namespace sculpt::sockets
