#include "engine/dist/liveness.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/dist/place.h"

namespace sculpt {
namespace {

using Clock = Liveness::Clock;

// judge() is called many times in this time, unless the process was stopped.
constexpr auto kPause = std::chrono::milliseconds(500);
// If rank 0 is silent, rank 1 says so. The other ranks say so only if rank 1 has not ended the run.
// All of them also give rank 0 so many seconds to say that ranks disagree.
constexpr double kGrace = 1;
constexpr int kExitMistake = 1;

double seconds(Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

const char* has(const std::vector<int>& ranks) {
  return ranks.size() == 1 ? "has" : "have";
}

/// The verdict on a rank that has called something else than rank 0.
Verdict other_order(int rank, const Heartbeat& beat, const Heartbeat& root,
                    const std::vector<RankPlace>& places) {
  return {
      kExitMistake,
      fmt::format("{} has called the communicator in another order than {}: its call {} is {}, and "
                  "call {} of rank 0 is {}; this is a mistake of the program",
                  name_of(rank, places), name_of(0, places), beat.calls, describe(beat.last),
                  root.calls, describe(root.last))};
}

}  // namespace

Liveness::Liveness(int rank, int size, double liveness_seconds, double collective_seconds,
                   Clock::time_point now)
    : rank_(rank),
      liveness_seconds_(liveness_seconds),
      collective_seconds_(collective_seconds),
      last_judged_(now),
      peers_(static_cast<size_t>(size), Peer{{}, now, {}}) {}

Heartbeat Liveness::beat(double idle_seconds, Clock::time_point now) {
  const Heartbeat beat{order_.count(), order_.digest(), order_.last(), idle_seconds};
  hear(rank_, beat, now);
  return beat;
}

void Liveness::hear(int from, const Heartbeat& beat, Clock::time_point now) {
  Peer& peer = peers_.at(static_cast<size_t>(from));
  if (beat.calls != peer.beat.calls) peer.behind.reset();
  peer.beat = beat;
  peer.heard = now;
}

std::optional<Verdict> Liveness::judge(Clock::time_point now,
                                       const std::vector<RankPlace>& places) {
  skip_own_pause(now);
  if (auto verdict = silent(now, places)) return verdict;
  if (rank_ != 0) return disagreeing_with_root(now, places);
  note_who_is_behind(now);
  if (auto verdict = disagreeing(places)) return verdict;
  return late(now, places);
}

void Liveness::skip_own_pause(Clock::time_point now) {
  const auto pause = now - last_judged_;
  last_judged_ = now;
  if (pause < kPause) return;
  for (Peer& peer : peers_) {
    peer.heard += pause;
    if (peer.behind) *peer.behind += pause;
  }
}

std::optional<Verdict> Liveness::silent(Clock::time_point now,
                                        const std::vector<RankPlace>& places) const {
  if (liveness_seconds_ == 0) return std::nullopt;
  const double limit = liveness_seconds_ + (rank_ > 1 ? kGrace : 0);
  const int watched = rank_ == 0 ? static_cast<int>(peers_.size()) : 1;
  std::vector<int> ranks;
  for (int r = 0; r < watched; ++r)
    if (r != rank_ && seconds(now - peers_[static_cast<size_t>(r)].heard) > limit)
      ranks.push_back(r);
  if (ranks.empty()) return std::nullopt;
  return Verdict{
      kExitRankLost,
      fmt::format(
          "{} {} given no sign of life for {:g} s: stopped, or hanging with the machine, or "
          "cut off from the network; ending all ranks",
          names_of(ranks, places), has(ranks), liveness_seconds_)};
}

void Liveness::note_who_is_behind(Clock::time_point now) {
  int64_t front = 0;
  for (const Peer& peer : peers_)
    front = std::max(front, peer.beat.calls);
  for (Peer& peer : peers_) {
    if (peer.beat.calls == front) peer.behind.reset();
    if (peer.beat.calls < front && !peer.behind) peer.behind = now;
  }
}

std::optional<Verdict> Liveness::late(Clock::time_point now,
                                      const std::vector<RankPlace>& places) const {
  std::vector<int> hanging, absent;
  int waiting = 0;
  const Peer* front = nullptr;
  for (size_t r = 0; r < peers_.size(); ++r) {
    const Peer& peer = peers_[r];
    if (!peer.behind) {
      ++waiting;
      front = &peer;
      continue;
    }
    const double time = seconds(now - *peer.behind);
    const double idle = std::min(time, peer.beat.idle_seconds);
    if (liveness_seconds_ > 0 && idle > liveness_seconds_) hanging.push_back(static_cast<int>(r));
    if (collective_seconds_ > 0 && time > collective_seconds_)
      absent.push_back(static_cast<int>(r));
  }
  if (hanging.empty() && absent.empty()) return std::nullopt;
  const std::vector<int>& ranks = hanging.empty() ? absent : hanging;
  const std::string reason =
      hanging.empty() ? fmt::format("{} not come there for {:g} s (dist.collective_seconds)",
                                    has(ranks), collective_seconds_)
                      : fmt::format("{} not come there and {} used no processor for {:g} s",
                                    has(ranks), has(ranks), liveness_seconds_);
  return Verdict{kExitRankLost,
                 fmt::format("{} of {} ranks wait in {} (call {}), but {} {}; ending all ranks",
                             waiting, peers_.size(), describe(front->beat.last), front->beat.calls,
                             names_of(ranks, places), reason)};
}

std::optional<Verdict> Liveness::disagreeing(const std::vector<RankPlace>& places) const {
  for (size_t r = 1; r < peers_.size(); ++r) {
    const Heartbeat& beat = peers_[r].beat;
    if (order_.agrees(beat.calls, beat.digest)) continue;
    return other_order(static_cast<int>(r), beat, {order_.count(), 0, order_.last()}, places);
  }
  return std::nullopt;
}

std::optional<Verdict> Liveness::disagreeing_with_root(Clock::time_point now,
                                                       const std::vector<RankPlace>& places) {
  const Heartbeat& root = peers_.front().beat;
  if (order_.agrees(root.calls, root.digest)) {
    apart_since_.reset();
    return std::nullopt;
  }
  if (!apart_since_) apart_since_ = now;
  if (seconds(now - *apart_since_) < kGrace) return std::nullopt;
  return other_order(rank_, {order_.count(), 0, order_.last()}, root, places);
}

}  // namespace sculpt
