// When a run ends because of a rank, told from heartbeats alone. Time is a number here.

#include "engine/dist/liveness.h"

#include <doctest/doctest.h>

#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

using Clock = Liveness::Clock;

Clock::time_point at(double seconds) {
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
}

const std::vector<RankPlace> kPlaces = {{"a", 10, 0}, {"b", 11, 0}, {"b", 12, 1}, {"c", 13, 0}};
constexpr double kLimit = 20, kLongLimit = 600;

Heartbeat in_call(int64_t calls, int64_t elements = 1000, double idle = 0) {
  return {calls, 0, {CallKind::sum_float, elements}, idle};
}

/// Ranks that send heartbeats once a second, and one that judges them ten times a second.
struct Job {
  explicit Job(int judge = 0, double limit = kLimit, double long_limit = kLongLimit)
      : liveness(judge, 4, limit, long_limit, at(0)), beats(4, in_call(1)) {}

  /// Runs to the time `end`, or to the first verdict. `alive` are the ranks that send heartbeats.
  void run_to(double end, const std::vector<int>& alive) {
    for (; !verdict && time < end; time += 0.1) {
      if (time >= next_beat) {
        next_beat += 1;
        for (const int rank : alive) {
          Heartbeat& beat = beats[static_cast<size_t>(rank)];
          if (beat.idle_seconds > 0) beat.idle_seconds += 1;
          liveness.hear(rank, beat, at(time));  // rank 0 has made no calls, so none are compared
        }
      }
      verdict = liveness.judge(at(time), kPlaces);
    }
  }

  Liveness liveness;
  std::vector<Heartbeat> beats;
  double time = 0, next_beat = 0;
  std::optional<Verdict> verdict;
};

}  // namespace

TEST_CASE("liveness: ranks that are all alive are left alone") {
  Job job;
  job.run_to(5000, {0, 1, 2, 3});
  CHECK(!job.verdict);
}

TEST_CASE("liveness: rank 0 names ranks that have been silent for the limit") {
  Job job;
  job.run_to(100, {0, 1, 2, 3});
  REQUIRE(!job.verdict);
  job.run_to(200, {0, 3});
  REQUIRE(job.verdict);
  CHECK(job.time == doctest::Approx(99 + kLimit).epsilon(0.01));
  CHECK(job.verdict->exit_code == kExitRankLost);
  CHECK(contains(job.verdict->text,
                 "rank 1 on b (process 11) and rank 2 on b (process 12) have given no sign of life "
                 "for 20 s"));
}

TEST_CASE("liveness: a rank from which nothing ever came is silent, too") {
  Job job;
  job.run_to(200, {0, 1, 2});
  REQUIRE(job.verdict);
  CHECK(job.time == doctest::Approx(kLimit).epsilon(0.02));
  CHECK(contains(job.verdict->text, "rank 3 on c (process 13) has given"));
}

TEST_CASE("liveness: rank 1 names rank 0, and the other ranks wait a little for rank 1") {
  double ended[4] = {};
  for (const int judge : {1, 2, 3}) {
    Job job(judge);
    job.run_to(200, {judge});
    REQUIRE(job.verdict);
    CHECK(contains(job.verdict->text, "rank 0 on a (process 10) has given no sign of life"));
    ended[judge] = job.time;
  }
  CHECK(ended[1] == doctest::Approx(kLimit).epsilon(0.02));
  CHECK(ended[2] == doctest::Approx(kLimit + 1).epsilon(0.02));
  CHECK(ended[3] == ended[2]);
}

TEST_CASE("liveness: a process that was stopped itself does not accuse the others") {
  for (const int judge : {0, 1, 2}) {
    Job job(judge);
    job.run_to(10, {0, 1, 2, 3});
    job.time += 1000;
    job.next_beat += 1015;  // the heartbeats of the others need a while to arrive
    job.run_to(2000, {0, 1, 2, 3});
    CHECK(!job.verdict);
    job.run_to(3000, {});  // from here on the limit counts again
    CHECK(job.verdict);
    CHECK(job.time < 2000 + kLimit + 2);
  }
}

TEST_CASE("liveness: a rank that computes for long while others wait is not lost") {
  Job job;
  for (const int rank : {0, 1, 3})
    job.beats[static_cast<size_t>(rank)] = in_call(2);
  job.run_to(kLongLimit - 1, {0, 1, 2, 3});
  CHECK(!job.verdict);
}

TEST_CASE("liveness: a rank for which others wait longer than the long limit is absent") {
  Job job;
  job.run_to(50, {0, 1, 2, 3});
  for (const int rank : {0, 1, 3})
    job.beats[static_cast<size_t>(rank)] = in_call(2, 270'000);
  job.run_to(5000, {0, 1, 2, 3});
  REQUIRE(job.verdict);
  CHECK(job.time == doctest::Approx(50 + kLongLimit).epsilon(0.01));
  CHECK(job.verdict->exit_code == kExitRankLost);
  CHECK(contains(job.verdict->text,
                 "3 of 4 ranks wait in a sum of 270,000 floats (call 2), but rank 2 on b (process "
                 "12) has not come there for 600 s"));
}

TEST_CASE("liveness: rank 0 may be absent itself") {
  Job job;
  for (const int rank : {1, 2, 3})
    job.beats[static_cast<size_t>(rank)] = in_call(2);
  job.run_to(5000, {0, 1, 2, 3});
  REQUIRE(job.verdict);
  CHECK(contains(job.verdict->text, "but rank 0 on a (process 10) has not come there"));
}

TEST_CASE("liveness: a rank that is behind but goes on is not absent") {
  Job job;
  for (int64_t call = 2; call < 300; ++call) {  // as sums that are started ahead
    for (size_t rank = 0; rank < 4; ++rank)
      job.beats[rank] = in_call(rank == 2 ? call - 1 : call);
    job.run_to(10.0 * static_cast<double>(call), {0, 1, 2, 3});
  }
  CHECK(!job.verdict);
}

TEST_CASE("liveness: a rank that does nothing while others wait is hanging") {
  Job job;
  for (const size_t rank : {0, 1, 2})
    job.beats[rank] = in_call(2);
  job.beats[3].idle_seconds = 1;
  job.run_to(5000, {0, 1, 2, 3});
  REQUIRE(job.verdict);
  CHECK(job.time == doctest::Approx(kLimit).epsilon(0.05));
  CHECK(
      contains(job.verdict->text,
               "but rank 3 on c (process 13) has not come there and has used no processor for 20"));
}

TEST_CASE("liveness: ranks that do nothing are left alone unless others wait") {
  Job job;
  for (Heartbeat& beat : job.beats)
    beat.idle_seconds = 100;
  job.run_to(5000, {0, 1, 2, 3});
  CHECK(!job.verdict);
  // A long rest of before counts from the moment in which others begin to wait.
  for (const size_t rank : {0, 1, 2})
    job.beats[rank].calls = 2;
  job.run_to(5000 + kLimit - 2, {0, 1, 2, 3});
  CHECK(!job.verdict);
}

TEST_CASE("liveness: a limit of 0 is none") {
  Job silent(0, 0, 0);
  silent.beats[1] = in_call(2);
  silent.beats[2].idle_seconds = 1;
  silent.run_to(20'000, {0, 1, 2});
  CHECK(!silent.verdict);
}

namespace {

Heartbeat beat_of(const CallOrder& order) {
  return {order.count(), order.digest(), order.last(), 0};
}

}  // namespace

TEST_CASE("liveness: ranks that have called different things have come apart") {
  const Call sum{CallKind::sum_float, 1000}, barrier{CallKind::barrier, 0};
  CallOrder same, swapped;
  for (const Call& call : {sum, barrier, sum})
    same.add(call);
  for (const Call& call : {barrier, sum, sum})
    swapped.add(call);
  Liveness liveness(0, 4, kLimit, kLongLimit, at(0));
  for (const int rank : {1, 2, 3})
    liveness.hear(rank, beat_of(rank == 2 ? swapped : same), at(0.1));
  CHECK(!liveness.judge(at(0.1), kPlaces));  // rank 0 has not come so far
  for (const Call& call : {sum, barrier, sum})
    liveness.call(call);
  for (int i = 0; i < 100; ++i)
    liveness.call(barrier);  // rank 0 may be ahead
  const auto verdict = liveness.judge(at(0.2), kPlaces);
  REQUIRE(verdict);
  CHECK(verdict->exit_code == 1);
  CHECK(contains(
      verdict->text,
      "rank 2 on b (process 12) has called the communicator in another order than rank 0 "
      "on a (process 10): its call 3 is a sum of 1,000 floats, and call 103 of rank 0 is a "
      "barrier"));
  liveness.hear(2, beat_of(same), at(0.3));
  CHECK(!liveness.judge(at(0.3), kPlaces));
}

TEST_CASE(
    "liveness: a rank that has come further than rank 0 sees that rank 0 called something else") {
  Liveness liveness(1, 3, 20, 600, at(0));
  CallOrder root;
  liveness.call({CallKind::sum_float, 1000});
  root.add({CallKind::sum_float, 1000});
  liveness.hear(0, beat_of(root), at(0.1));
  CHECK(!liveness.judge(at(0.1), kPlaces));
  liveness.call({CallKind::broadcast, 8});
  liveness.call({CallKind::barrier, 0});
  root.add({CallKind::sum_float, 1000});
  liveness.hear(0, beat_of(root), at(0.2));
  for (int i = 2; i <= 11; ++i)  // rank 0 may say it first
    CHECK(!liveness.judge(at(0.1 * i), kPlaces));
  const auto verdict = liveness.judge(at(1.3), kPlaces);
  REQUIRE(verdict);
  CHECK(verdict->exit_code == 1);
  CHECK(contains(verdict->text,
                 "has called the communicator in another order than rank 0 on a (process 10): its "
                 "call 3 is a barrier, and call 2 of rank 0 is a sum of 1,000 floats"));
  // Rank 0 that is only behind has called nothing else.
  Liveness ahead(1, 3, 20, 600, at(0));
  ahead.call({CallKind::barrier, 0});
  ahead.hear(0, beat_of(CallOrder()), at(0.1));
  CHECK(!ahead.judge(at(0.1), kPlaces));
  CHECK(!ahead.judge(at(3), kPlaces));
}
