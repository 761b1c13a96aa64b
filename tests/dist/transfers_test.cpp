// Sums over sockets, against a loop in double; and operations that are under way together.

#include "engine/dist/sockets/transfers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <random>

#include "tests/dist/socket_ranks.h"

using namespace sculpt;
using namespace sculpt::testing;
using sockets::Identity;
using sockets::Team;

namespace {

/// Goes on with transfers until all of them are complete.
void complete(const Team& team, std::vector<std::unique_ptr<Transfer>> transfers) {
  while (!transfers.empty()) {
    sockets::exchange_messages(team, std::chrono::milliseconds(1));
    std::erase_if(transfers, [](const auto& transfer) { return transfer->test(); });
  }
}

template <class T>
constexpr CallKind kSum = CallKind::sum_int64;
template <>
constexpr CallKind kSum<float> = CallKind::sum_float;
template <>
constexpr CallKind kSum<double> = CallKind::sum_double;

template <class T>
std::vector<T> random_values(size_t size, size_t seed) {
  std::mt19937_64 random(seed);
  std::vector<T> values(size);
  for (T& value : values)
    value = static_cast<T>(std::normal_distribution<double>(0, 1000)(random));
  return values;
}

/// Adds arrays of all ranks over their connections. Returns the array of each rank.
template <class T>
std::vector<std::vector<T>> sum(const std::vector<Team>& teams, std::vector<std::vector<T>> arrays,
                                int64_t number) {
  run_together(teams.size(), [&](size_t rank) {
    const Operation operation({kSum<T>, std::ssize(arrays[rank])}, arrays[rank].data());
    std::vector<std::unique_ptr<Transfer>> transfers;
    transfers.push_back(
        start_transfer(teams[rank], operation, {Channel::calls, number, operation.call()}));
    complete(teams[rank], std::move(transfers));
  });
  return arrays;
}

/// Checks sums of random arrays against a loop.
template <class T>
void check_sums(const std::vector<Team>& teams, int64_t& number) {
  // The sizes around the limit of small sums, around a piece, and some that no number of ranks
  // divides.
  for (const size_t bytes : {size_t{0}, size_t{8}, sockets::kSmallSum, sockets::kSmallSum + 8,
                             sockets::kPiece, 5 * sockets::kPiece + 8, size_t{1'234'568}}) {
    const size_t size = bytes / sizeof(T);
    CAPTURE(size);
    std::vector<std::vector<T>> arrays;
    for (size_t rank = 0; rank < teams.size(); ++rank)
      arrays.push_back(random_values<T>(size, 100 * size + rank));
    const auto sums = sum(teams, arrays, ++number);
    int64_t wrong = 0;
    for (size_t i = 0; i < size; ++i) {
      double expected = 0, magnitude = 0;
      for (const auto& array : arrays) {
        expected += static_cast<double>(array[i]);
        magnitude += std::abs(static_cast<double>(array[i]));
      }
      const double epsilon = std::is_integral_v<T> ? 0 : std::numeric_limits<T>::epsilon();
      const double bound = magnitude * static_cast<double>(teams.size()) * epsilon;
      wrong += std::abs(static_cast<double>(sums[0][i]) - expected) > bound;
    }
    CHECK(wrong == 0);
    for (const auto& other : sums)
      CHECK((size == 0 || std::memcmp(other.data(), sums[0].data(), size * sizeof(T)) == 0));
    // The same numbers give the same bits.
    CHECK((sum(teams, arrays, ++number) == sums));
  }
}

int64_t sent_to(const Team& team, int other) {
  tcp_info info{};
  socklen_t size = sizeof info;
  getsockopt(team.link(other).socket().file(), IPPROTO_TCP, TCP_INFO, &info, &size);
  return static_cast<int64_t>(info.tcpi_bytes_acked);
}

}  // namespace

TEST_CASE("sums over sockets: 1 to 5 ranks") {
  for (int size = 1; size <= 5; ++size) {
    CAPTURE(size);
    const auto teams = connected_ranks(size);
    int64_t number = 0;
    check_sums<float>(teams, number);
    check_sums<double>(teams, number);
    check_sums<int64_t>(teams, number);
  }
}

TEST_CASE("sums over sockets: small sums are added in the order of the ranks") {
  const auto teams = connected_ranks(4);
  std::vector<std::vector<float>> arrays;
  for (size_t rank = 0; rank < 4; ++rank)
    arrays.push_back(random_values<float>(1000, rank));
  auto expected = arrays[0];
  for (size_t rank = 1; rank < 4; ++rank)
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] += arrays[rank][i];
  CHECK((sum(teams, arrays, 1)[2] == expected));
}

TEST_CASE("sums over sockets: no link carries more than 2 (R - 1) / R of the bytes") {
  constexpr size_t kValues = 1'000'003;
  for (const int size : {2, 3, 5}) {
    CAPTURE(size);
    const auto teams = connected_ranks(size);
    std::vector<int64_t> before;
    for (const Team& team : teams)
      before.push_back(sent_to(team, team.next()));
    sum(teams, std::vector(static_cast<size_t>(size), std::vector<float>(kValues, 1)), 1);
    for (const Team& team : teams) {
      const auto bytes =
          static_cast<double>(sent_to(team, team.next()) - before[static_cast<size_t>(team.rank)]);
      const double share = 2.0 * (size - 1) / size * kValues * sizeof(float);
      CHECK(bytes <= 1.01 * share);
      CHECK(bytes >= 0.9 * share);
      for (int other = 0; other < size; ++other)
        if (team.links[static_cast<size_t>(other)] && other != team.next())
          CHECK(sent_to(team, other) < 10'000);
    }
  }
}

TEST_CASE("sums over sockets: pending sums and other calls in another order on every rank") {
  constexpr size_t kRanks = 4, kSums = 6;
  const auto teams = connected_ranks(kRanks);
  // Sums of both algorithms are pending, and each rank makes its other calls at other places. The
  // calls have the sizes of the sums, so that only the channel tells them apart.
  std::vector<std::vector<std::vector<double>>> pending(kRanks), called(kRanks);
  for (size_t rank = 0; rank < kRanks; ++rank)
    for (size_t i = 0; i < kSums; ++i) {
      pending[rank].push_back(random_values<double>(i % 2 == 0 ? 100 : 70'001, 10 * i + rank));
      called[rank].push_back(random_values<double>(i % 3 == 0 ? 70'001 : 100, 100 * i + rank));
    }
  const auto expected = [](const auto& arrays, size_t i) {
    auto total = arrays[0][i];
    for (size_t rank = 1; rank < kRanks; ++rank)
      std::ranges::transform(total, arrays[rank][i], total.begin(), std::plus());
    return total;
  };
  std::vector<std::vector<double>> sums, others;
  for (size_t i = 0; i < kSums; ++i) {
    sums.push_back(expected(pending, i));
    others.push_back(expected(called, i));
  }
  run_together(kRanks, [&](size_t rank) {
    std::vector<std::unique_ptr<Operation>> operations;
    std::vector<std::unique_ptr<Transfer>> transfers;
    const auto start = [&](std::vector<double>& values, Channel channel, size_t number) {
      operations.push_back(std::make_unique<Operation>(
          Call{CallKind::sum_double, std::ssize(values)}, values.data()));
      const Identity identity{channel, static_cast<int64_t>(number), operations.back()->call()};
      transfers.push_back(start_transfer(teams[rank], *operations.back(), identity));
    };
    for (size_t i = 0, j = 0; i < kSums || j < kSums;) {
      // Rank 0 makes all calls first, and the last rank starts all pending sums first.
      if (j < kSums && (i == kSums || (i + j) % kRanks >= rank))
        start(called[rank][j], Channel::calls, j), ++j;
      else
        start(pending[rank][i], Channel::pending_sums, i), ++i;
    }
    complete(teams[rank], std::move(transfers));
  });
  const auto is_close = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::ranges::equal(a, b, [](double x, double y) { return std::abs(x - y) < 1e-9; });
  };
  for (size_t rank = 0; rank < kRanks; ++rank)
    for (size_t i = 0; i < kSums; ++i) {
      CHECK(is_close(pending[rank][i], sums[i]));
      CHECK(is_close(called[rank][i], others[i]));
    }
}

TEST_CASE("transfers: a call that differs is not taken for another one") {
  const auto teams = connected_ranks(2);
  std::array<bool, 2> completed{};
  run_together(2, [&](size_t rank) {
    std::vector<float> values(100, 1);
    const CallKind kind = rank == 0 ? CallKind::sum_float : CallKind::broadcast;
    const Operation operation({kind, 100}, values.data(), 1);
    const auto transfer =
        start_transfer(teams[rank], operation, {Channel::calls, 1, operation.call()});
    for (int i = 0; i < 50; ++i) {
      sockets::exchange_messages(teams[rank], std::chrono::milliseconds(2));
      completed[rank] = transfer->test();
    }
  });
  CHECK(!completed[0]);
}
