#pragma once
// Decides from the heartbeats of the ranks whether the run can go on. A heartbeat says how far a
// rank has come. Rank 0 judges all ranks; the others judge rank 0 only, because all heartbeats go
// through it. Of two ranks whose calls differ, the one that has come further can tell.
//
// A rank is lost in one of three ways:
//   silent   it sends no heartbeats: it was stopped, its machine hangs, or the network to it is cut
//   hanging  it sends heartbeats, but others wait for it while it uses no processor (a deadlock)
//   absent   it sends heartbeats and uses a processor, but others have waited for it for very long
// Only the last needs a long limit. A rank that evaluates or measures for minutes, alone, is not
// lost, and heartbeats cannot tell it from a rank that runs in an endless loop.

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/dist/call_order.h"
#include "engine/dist/communicator.h"

namespace sculpt {

/// A heartbeat of a rank, which says how far the rank has come.
struct Heartbeat {
  int64_t calls = 0;        ///< the calls of the communicator so far
  uint64_t digest = 0;      ///< of these calls; see CallOrder
  Call last;                ///< the newest call
  double idle_seconds = 0;  ///< the time since the rank last used a processor or a disk
};

/// The reason for which the run ends.
struct Verdict {
  int exit_code = 0;
  std::string text;  ///< one line that names the ranks
};

class Liveness {
 public:
  using Clock = std::chrono::steady_clock;

  /// Limits in seconds; 0 means that there is no limit.
  Liveness(int rank, int size, double liveness_seconds, double collective_seconds,
           Clock::time_point now);

  /// Takes a call of this rank.
  void call(const Call& call) { order_.add(call); }
  /// Returns the heartbeat of this rank, and takes it.
  Heartbeat beat(double idle_seconds, Clock::time_point now);
  /// Takes a heartbeat of another rank.
  void hear(int from, const Heartbeat& beat, Clock::time_point now);

  /// Returns why the run must end, or nothing if it can go on. Call this several times a second:
  /// a long pause between two calls means that this process itself was stopped, and is taken out of
  /// the time that others have been silent.
  std::optional<Verdict> judge(Clock::time_point now, const std::vector<RankPlace>& places);

 private:
  struct Peer {
    Heartbeat beat;
    Clock::time_point heard;                  ///< when the newest heartbeat arrived
    std::optional<Clock::time_point> behind;  ///< since when others wait for the rank
  };

  void skip_own_pause(Clock::time_point now);
  void note_who_is_behind(Clock::time_point now);
  std::optional<Verdict> silent(Clock::time_point now, const std::vector<RankPlace>& places) const;
  std::optional<Verdict> late(Clock::time_point now, const std::vector<RankPlace>& places) const;
  std::optional<Verdict> disagreeing(const std::vector<RankPlace>& places) const;
  std::optional<Verdict> disagreeing_with_root(Clock::time_point now,
                                               const std::vector<RankPlace>& places);

  CallOrder order_;  ///< of this rank's calls
  const int rank_;
  const double liveness_seconds_, collective_seconds_;
  Clock::time_point last_judged_;
  std::vector<Peer> peers_;                       ///< by rank
  std::optional<Clock::time_point> apart_since_;  ///< since when rank 0 has called something else
};

}  // namespace sculpt
