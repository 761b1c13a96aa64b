// A process that waits is idle, and one that computes is not.

#include "engine/dist/activity.h"

#include <atomic>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace sculpt;

TEST_CASE("activity: another thread that computes keeps the process active") {
  using namespace std::chrono_literals;
  auto now = Activity::Clock::now();
  Activity activity(now);
  // The time between two samples is long for whoever reads the clock below, so that a few
  // milliseconds of other threads do not count, and 0.2 seconds do.
  now += 1s;
  std::this_thread::sleep_for(1ms);
  CHECK(activity.idle_seconds(now) == doctest::Approx(1));
  now += 1s;
  CHECK(activity.idle_seconds(now) == doctest::Approx(2));

  std::thread busy([] {
    std::clock_t now_used = 0;
    timespec time{};
    do {
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
      now_used = time.tv_nsec;
    } while (time.tv_sec == 0 && now_used < 200'000'000);
  });
  busy.join();
  now += 1s;
  CHECK(activity.idle_seconds(now) == 0);

  // The processor time of the thread that measures does not count.
  timespec begin{}, time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  do {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  } while (static_cast<double>(time.tv_sec - begin.tv_sec) +
               1e-9 * static_cast<double>(time.tv_nsec - begin.tv_nsec) <
           0.2);
  now += 1s;
  CHECK(activity.idle_seconds(now) == doctest::Approx(1));
}

TEST_CASE("activity: a process whose output nobody reads is not idle") {
  using namespace std::chrono_literals;
  int pipe_ends[2];
  REQUIRE(pipe2(pipe_ends, O_NONBLOCK) == 0);
  const std::vector<char> bytes(4096);
  while (write(pipe_ends[1], bytes.data(), bytes.size()) > 0) {
  }
  const int output = dup(STDOUT_FILENO);
  dup2(pipe_ends[1], STDOUT_FILENO);
  auto now = Activity::Clock::now();
  Activity activity(now);
  const double full = activity.idle_seconds(now += 1s);
  std::vector<char> read_bytes(1 << 20);
  const bool is_read = ::read(pipe_ends[0], read_bytes.data(), read_bytes.size()) > 0;
  const double read = activity.idle_seconds(now += 1s);
  dup2(output, STDOUT_FILENO);
  for (const int file : {output, pipe_ends[0], pipe_ends[1]})
    close(file);
  CHECK(is_read);
  CHECK(full == 0);
  CHECK(read == doctest::Approx(1));
}
