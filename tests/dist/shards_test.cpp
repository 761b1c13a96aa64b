// Logical ranks: the same bits on any number of processes, and errors that end all of them.

#include "engine/dist/shards.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <mutex>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/dist/single.h"
#include "kernels/common/parallel.h"

using namespace sculpt;

namespace {

/// Runs body on `shards` logical ranks of `processes` processes, which are threads here.
void run_on(int processes, int shards, const std::function<void(Communicator&)>& body) {
  const auto single = single_communicator();
  ShardGroup(*single, processes).run([&](Communicator& process) {
    ShardGroup(process, shards).run(body);
  });
}

/// Numbers of very different sizes, some of them -0, so that the order of additions shows.
std::vector<float> values_of(int rank, size_t count) {
  const RandomStream stream(7, Purpose::test, static_cast<uint64_t>(rank));
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i)
    values.push_back(i % 5 == 0 ? -0.0f
                                : stream.normal(i) * std::exp2(static_cast<float>(i % 17) - 8));
  return values;
}

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values)
    bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

/// The sum in the order that the header describes, for a power of two.
std::vector<float> tree(int first, int count, size_t size) {
  if (count == 1) return values_of(first, size);
  std::vector<float> sum = tree(first, count / 2, size);
  const std::vector<float> second = tree(first + count / 2, count / 2, size);
  for (size_t i = 0; i < size; ++i)
    sum[i] += second[i];
  return sum;
}

}  // namespace

TEST_CASE("shards: sums have the bits of the fixed tree, on any number of processes") {
  for (const int shards : {1, 2, 8})
    for (const size_t size : {size_t{0}, size_t{1}, size_t{5}, size_t{3001}}) {
      std::vector<float> expected = tree(0, shards, size);
      for (float& value : expected)
        value += 0.0f;
      for (int processes = 1; processes <= shards; processes *= 2) {
        CAPTURE(shards);
        CAPTURE(size);
        CAPTURE(processes);
        std::vector<std::vector<float>> sums(static_cast<size_t>(shards));
        run_on(processes, shards, [&](Communicator& rank) {
          std::vector<float> values = values_of(rank.rank(), size);
          rank.all_reduce_sum(std::span(values));
          sums[static_cast<size_t>(rank.rank())] = values;
        });
        for (const auto& of_rank : sums)
          CHECK(bits_of(of_rank) == bits_of(expected));
      }
    }
}

TEST_CASE("shards: ranks are numbered through, and every call reaches all of them") {
  for (const int processes : {1, 2, 4}) {
    CAPTURE(processes);
    std::mutex mutex;
    std::vector<int> seen;
    run_on(processes, 4, [&](Communicator& rank) {
      if (rank.size() != 4) fail("size {}", rank.size());
      if (thread_count() != 1) fail("{} threads", thread_count());
      {
        const std::lock_guard lock(mutex);
        seen.push_back(rank.rank());
      }
      for (int root = 0; root < 4; ++root) {
        int64_t value = rank.rank() == root ? 100 + root : 0;
        rank.broadcast(std::as_writable_bytes(std::span(&value, 1)), root);
        if (value != 100 + root) fail("rank {} has {}", rank.rank(), value);
      }
      const auto texts = rank.all_gather(std::string(static_cast<size_t>(rank.rank()), 'x'));
      for (size_t other = 0; other < 4; ++other)
        if (texts.at(other).size() != other) fail("'{}'", texts[other]);
      rank.barrier();
      int64_t one = 1;
      rank.all_reduce_sum(std::span(&one, 1));
      if (one != 4) fail("{} ranks", one);
      double half = 0.5;
      rank.all_reduce_sum(std::span(&half, 1));
      if (half != 2) fail("{}", half);
    });
    std::ranges::sort(seen);
    CHECK(seen == std::vector<int>{0, 1, 2, 3});
  }
}

TEST_CASE("shards: an error in one logical rank ends the others, and is reported") {
  const auto single = single_communicator();
  ShardGroup group(*single, 4);
  int ended = 0;
  std::mutex mutex;
  struct Count {
    int& ended;
    std::mutex& mutex;
    ~Count() {
      const std::lock_guard lock(mutex);
      ++ended;
    }
  };
  CHECK_THROWS_WITH_AS(group.run([&](Communicator& rank) {
    const Count count{ended, mutex};
    for (int step = 0;; ++step) {
      if (rank.rank() == 2 && step == 3) fail("the disk is full");
      rank.barrier();
    }
  }),
                       "the disk is full", Error);
  CHECK(ended == 4);
  // The group can be used again.
  int64_t total = 0;
  group.run([&](Communicator& rank) {
    int64_t value = rank.rank();
    rank.all_reduce_sum(std::span(&value, 1));
    if (rank.is_root()) total = value;
  });
  CHECK(total == 6);
}

namespace {

/// Returns true if the logical ranks can be spread over the processes.
bool can_spread(int processes, int shards) {
  bool can = true;
  const auto single = single_communicator();
  ShardGroup(*single, processes).run([&](Communicator& process) {
    try {
      const ShardGroup group(process, shards);
    } catch (const Error&) {
      if (process.is_root()) can = false;
    }
  });
  return can;
}

}  // namespace

TEST_CASE("shards: numbers that the tree does not fit are refused") {
  CHECK_THROWS_AS(ShardGroup(*single_communicator(), 0), Error);
  CHECK(can_spread(1, 3));
  CHECK(can_spread(4, 4));
  CHECK(can_spread(2, 16));
  CHECK(!can_spread(3, 6));
  CHECK(!can_spread(3, 4));
  CHECK(!can_spread(2, 6));
  CHECK(!can_spread(4, 2));
}
