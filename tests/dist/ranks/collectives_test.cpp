// Every function of the communicator on the ranks of this job, against plain loops over what all
// ranks put in.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <random>
#include <set>
#include <unistd.h>

#include "engine/core/error.h"
#include "tests/dist/ranks/ranks.h"

using namespace sculpt;
using sculpt::test::ranks;

namespace {

constexpr size_t kSizes[] = {0, 1, 1000, 270'000};

/// Returns the array that a rank puts in. Every rank can compute those of all ranks.
template <class T>
std::vector<T> input(int rank, size_t size, unsigned seed) {
  std::mt19937 random(seed * 1000 + static_cast<unsigned>(rank));
  std::vector<T> values(size);
  for (T& value : values) {
    if constexpr (std::is_integral_v<T>)
      value = static_cast<T>(random()) * (int64_t{1} << 20) - static_cast<T>(random());
    else
      value = static_cast<T>(std::normal_distribution<double>(0, 3)(random));
  }
  return values;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Compares a sum with a loop, and the bits of all ranks with each other.
template <class T>
void check_sum(const std::vector<T>& sum, unsigned seed) {
  CAPTURE(sum.size());
  std::vector<std::vector<T>> inputs;
  for (int rank = 0; rank < ranks().size(); ++rank)
    inputs.push_back(input<T>(rank, sum.size(), seed));
  int64_t wrong = 0;
  for (size_t i = 0; i < sum.size(); ++i) {
    if constexpr (std::is_integral_v<T>) {
      T expected = 0;
      for (const auto& values : inputs)
        expected += values[i];
      wrong += sum[i] != expected;
    } else {
      long double expected = 0, magnitude = 0;
      for (const auto& values : inputs) {
        expected += values[i];
        magnitude += std::abs(values[i]);
      }
      const long double bound =
          magnitude * (ranks().size() - 1) * std::numeric_limits<T>::epsilon();
      wrong += std::abs(sum[i] - expected) > bound;
    }
  }
  CHECK(wrong == 0);
  const auto all = ranks().all_gather(bytes_of(sum));
  for (const std::string& bytes : all)
    CHECK((bytes == all[0]));
}

template <class T>
void check_all_sizes() {
  unsigned seed = 1;
  for (const size_t size : kSizes) {
    auto values = input<T>(ranks().rank(), size, ++seed);
    ranks().all_reduce_sum(std::span<T>(values));
    check_sum(values, seed);
  }
}

}  // namespace

TEST_CASE("sums of floats") {
  check_all_sizes<float>();
}

TEST_CASE("sums of doubles") {
  check_all_sizes<double>();
}

TEST_CASE("sums of integers") {
  check_all_sizes<int64_t>();
}

TEST_CASE("sums that are pending together, and other calls meanwhile") {
  constexpr unsigned kSums = 6;
  std::vector<std::vector<float>> values;
  std::vector<std::vector<double>> doubles;
  std::vector<PendingSum> sums;
  for (unsigned i = 0; i < kSums; ++i) {
    // Each rank makes another call before another one of its sums.
    if (i == static_cast<unsigned>(ranks().rank()) % kSums) {
      int64_t one = 1;
      ranks().all_reduce_sum(std::span(&one, 1));
      CHECK(one == ranks().size());
    }
    values.push_back(input<float>(ranks().rank(), 20'000 * i + 1, 50 + i));
    sums.push_back(ranks().start_sum(values.back()));
    doubles.push_back(input<double>(ranks().rank(), 1'000 * i, 60 + i));
    sums.push_back(ranks().start_sum(doubles.back()));
  }
  for (PendingSum& sum : sums)
    sum.wait();
  for (unsigned i = 0; i < kSums; ++i) {
    check_sum(values[i], 50 + i);
    check_sum(doubles[i], 60 + i);
  }
}

TEST_CASE("a pending sum that goes away has been computed") {
  auto values = input<float>(ranks().rank(), 30'000, 70);
  { const PendingSum sum = ranks().start_sum(values); }
  check_sum(values, 70);
}

TEST_CASE("broadcasts from every rank") {
  for (const size_t size : kSizes)
    for (int root = 0; root < ranks().size(); ++root) {
      auto values = input<int64_t>(ranks().rank(), size, 80);
      ranks().broadcast(std::as_writable_bytes(std::span(values)), root);
      CHECK((values == input<int64_t>(root, size, 80)));
    }
  CHECK_THROWS_AS(ranks().broadcast({}, ranks().size()), Error);
  CHECK_THROWS_AS(ranks().broadcast({}, -1), Error);
}

TEST_CASE("texts of different lengths") {
  for (const size_t unit : {0, 1, 7, 50'000}) {
    const auto text = [&](int rank) {
      // Rank 1 has an empty text.
      return std::string(rank == 1 ? 0 : unit * static_cast<size_t>(rank + 1),
                         static_cast<char>('a' + rank % 20));
    };
    const auto all = ranks().all_gather(text(ranks().rank()));
    CHECK(static_cast<int>(all.size()) == ranks().size());
    for (int rank = 0; rank < static_cast<int>(all.size()); ++rank)
      CHECK((all[static_cast<size_t>(rank)] == text(rank)));
  }
}

TEST_CASE("places are those of the ranks") {
  const auto& places = ranks().places();
  CHECK(static_cast<int>(places.size()) == ranks().size());
  const auto rank = static_cast<size_t>(ranks().rank());
  if (rank < places.size()) CHECK(places[rank].process == getpid());
  std::set<int64_t> processes;
  for (const RankPlace& place : places)
    processes.insert(place.process);
  CHECK(processes.size() == places.size());
  const auto all = ranks().all_gather(std::to_string(getpid()));
  for (size_t i = 0; i < std::min(all.size(), places.size()); ++i)
    CHECK(all[i] == std::to_string(places[i].process));
  if (ranks().size() == 1) CHECK(ranks().description() == "single");
  if (ranks().size() > 1)
    CHECK(ranks().description().find(std::to_string(ranks().size()) + " ranks on ") !=
          std::string::npos);
}

TEST_CASE("a barrier lets nobody through before all have come") {
  // Each rank takes its time, and says when it came and when it left. CLOCK_MONOTONIC is the same
  // clock for all processes of a machine; on several machines only the calls are tested.
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  };
  ranks().barrier();
  usleep(static_cast<useconds_t>(20'000 * ranks().rank()));
  const int64_t came = now();
  ranks().barrier();
  const int64_t left = now();
  int64_t last_came = 0;
  for (const std::string& text : ranks().all_gather(std::to_string(came)))
    last_came = std::max<int64_t>(last_came, std::stoll(text));
  std::set<std::string> hosts;
  for (const RankPlace& place : ranks().places())
    hosts.insert(place.host);
  if (hosts.size() == 1) CHECK(left >= last_came);
}
