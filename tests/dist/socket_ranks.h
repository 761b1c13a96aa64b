#pragma once
// Ranks over sockets that are threads of the test.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "engine/dist/sockets/meeting.h"
#include "engine/dist/sockets/socket.h"

namespace sculpt::testing {

/// A rank that is to meet others.
struct SocketRank {
  sockets::Rendezvous rendezvous;
  int rank = 0, size = 1;
  double limit = 20;                  ///< in seconds
  std::chrono::milliseconds late{0};  ///< how long the rank waits before it begins
};

/// The result of a meeting for one rank.
struct Met {
  std::optional<sockets::Team> team;
  bool missing = false;  ///< true if it ended by RankMissing
  std::string error;
  int ended_with = 0;  ///< the exit code with which another rank has ended it; 0: none has
};

inline Met meet(const SocketRank& one) {
  std::this_thread::sleep_for(one.late);
  Met met;
  try {
    met.team =
        sockets::meet(one.rendezvous, one.rank, one.size, std::chrono::duration<double>(one.limit));
  } catch (const RankMissing& error) {
    met.missing = true;
    met.error = error.what();
  } catch (const Error& error) {
    met.error = error.what();
  } catch (const EndedByOthers& end) {
    met.ended_with = end.exit_code;
  }
  return met;
}

/// Runs body(i) for i in [0, count) on a thread each.
inline void run_together(size_t count, const std::function<void(size_t)>& body) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back(body, i);
  for (std::thread& thread : threads)
    thread.join();
}

inline std::vector<Met> meet(const std::vector<SocketRank>& ranks) {
  std::vector<Met> met(ranks.size());
  run_together(ranks.size(), [&](size_t i) { met[i] = meet(ranks[i]); });
  return met;
}

/// A rendezvous at a free port of this host. Rank 0 inherits the socket that listens there.
class LocalRendezvous {
 public:
  LocalRendezvous() {
    const sockets::Socket listener = sockets::listen_at(sockets::resolve("127.0.0.1", 0).front());
    rendezvous_.host = "127.0.0.1";
    rendezvous_.port = sockets::local_address(listener).port();
    rendezvous_.token = "a-test";
    rendezvous_.listener = dup(listener.file());
  }
  const sockets::Rendezvous& get() const { return rendezvous_; }

  /// Returns `count` ranks of `size`.
  std::vector<SocketRank> ranks(int count, int size, double limit = 20) const {
    std::vector<SocketRank> all;
    for (int rank = 0; rank < count; ++rank)
      all.push_back({rendezvous_, rank, size, limit});
    return all;
  }

 private:
  sockets::Rendezvous rendezvous_;
};

/// Returns the connections of `size` ranks.
inline std::vector<sockets::Team> connected_ranks(int size) {
  std::vector<sockets::Team> teams;
  for (Met& met : meet(LocalRendezvous().ranks(size, size))) {
    SCULPT_CHECK(met.team.has_value(), "the ranks do not meet: {}", met.error);
    teams.push_back(std::move(*met.team));
  }
  return teams;
}

}  // namespace sculpt::testing
