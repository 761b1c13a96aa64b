#include "kernels/common/parallel.h"

#include <atomic>
#include <doctest/doctest.h>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/common/check.h"

namespace {

using sculpt::parallel_for;

class RestoreThreads {
 public:
  RestoreThreads() : before_(sculpt::thread_count()) {}
  ~RestoreThreads() { sculpt::set_thread_count(before_); }

 private:
  int before_;
};

TEST_CASE(
    "parallel loops: parallel_for visits every item once, in one contiguous share per thread") {
  const RestoreThreads restore;
  for (const int threads : {1, 2, 3, 7}) {
    sculpt::set_thread_count(threads);
    CHECK(sculpt::thread_count() == threads);
    for (const int64_t count : {0, 1, 2, 5, 64, 1001}) {
      std::vector<int> visits(static_cast<size_t>(count));
      std::mutex mutex;
      std::set<int> seen;
      parallel_for(count, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i)
          ++visits[static_cast<size_t>(i)];
        const std::lock_guard lock(mutex);
        CHECK(begin < end);
        CHECK(thread >= 0);
        CHECK(thread < threads);
        CHECK(seen.insert(thread).second);
      });
      for (const int v : visits)
        CHECK(v == 1);
    }
  }
}

TEST_CASE("parallel loops: shares depend only on the counts") {
  const RestoreThreads restore;
  sculpt::set_thread_count(3);
  std::vector<int> first(100), second(100);
  for (auto* owner : {&first, &second})
    parallel_for(100, [owner](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i)
        (*owner)[static_cast<size_t>(i)] = thread;
    });
  CHECK(first == second);
  CHECK(first.front() == 0);
  CHECK(first.back() == 2);
}

TEST_CASE("parallel loops: many short loops in a row see each other's results") {
  const RestoreThreads restore;
  sculpt::set_thread_count(4);
  std::vector<int64_t> values(64, 0);
  for (int step = 0; step < 500; ++step)
    parallel_for(64, [&](int64_t begin, int64_t end, int) {
      // Reads what another thread wrote in the last loop.
      for (int64_t i = begin; i < end; ++i)
        if (step % 2 == 0)
          values[static_cast<size_t>(i)] += 1;
        else
          values[static_cast<size_t>(63 - i)] += 1;
    });
  for (const int64_t v : values)
    CHECK(v == 500);
}

TEST_CASE("parallel loops: nested calls run inline") {
  const RestoreThreads restore;
  sculpt::set_thread_count(3);
  std::atomic<int> inner_calls{0};
  std::atomic<int64_t> items{0};
  parallel_for(3, [&](int64_t, int64_t, int) {
    parallel_for(10, [&](int64_t begin, int64_t end, int thread) {
      ++inner_calls;
      items += end - begin;
      if (thread != 0) items += 1000;
    });
  });
  CHECK(inner_calls == 3);
  CHECK(items == 30);
}

TEST_CASE("parallel loops: an exception of any thread reaches the caller, and the pool survives") {
  const RestoreThreads restore;
  sculpt::set_thread_count(3);
  for (const int64_t bad : {0, 50, 99}) {
    CHECK_THROWS_AS(parallel_for(100,
                                 [&](int64_t begin, int64_t end, int) {
                                   if (begin <= bad && bad < end) throw std::range_error("bad");
                                 }),
                    std::range_error);
  }
  // A body that threw must not leave its thread believing that it is still inside one.
  std::atomic<int> calls{0};
  parallel_for(3, [&](int64_t, int64_t, int) { ++calls; });
  CHECK(calls == 3);
}

TEST_CASE(
    "parallel loops: two threads may call parallel_for at the same time, and change the thread "
    "count") {
  const RestoreThreads restore;
  sculpt::set_thread_count(2);
  std::atomic<int64_t> total{0};
  auto work = [&] {
    for (int i = 0; i < 300; ++i)
      parallel_for(10, [&](int64_t begin, int64_t end, int) { total += end - begin; });
  };
  std::thread other(work);
  for (int i = 0; i < 10; ++i)
    sculpt::set_thread_count(1 + i % 3);
  work();
  other.join();
  CHECK(total == 6000);
}

TEST_CASE("parallel loops: thread counts below one are refused") {
  CHECK_THROWS_AS(sculpt::set_thread_count(0), sculpt::Error);
}

}  // namespace
