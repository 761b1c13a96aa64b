// Top-k against a stable sort.

#include "kernels/ranking.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <numeric>

#include "kernels/common/check.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using sculpt::kernels::test::ThreadCount;
using Mask = std::vector<uint8_t>;

template <class Score>
Mask naive_top_k(const std::vector<Score>& scores, const Mask& candidate, int64_t k) {
  std::vector<size_t> order;
  for (size_t i = 0; i < scores.size(); ++i)
    if (candidate.empty() || candidate[i] != 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  Mask keep(scores.size(), 0);
  for (size_t i = 0; i < static_cast<size_t>(k); ++i)
    keep[order[i]] = 1;
  return keep;
}

enum class Kind { spread, ties, equal, zeros, extremes, close };

/// Score i of n of the given kind.
template <class Score>
Score score(Kind kind, uint64_t i) {
  const auto words = sculpt::philox4x32(17, i, static_cast<uint64_t>(kind));
  const double uniform = 2.0 * sculpt::philox_uniform(words[0]) - 1;
  constexpr Score kInfinity = std::numeric_limits<Score>::infinity();
  switch (kind) {
    case Kind::spread:  // over the whole range of exponents, both signs
      return static_cast<Score>(std::ldexp(uniform, static_cast<int>(words[1] % 240) - 120));
    case Kind::ties:
      return static_cast<Score>(static_cast<int>(words[1] % 7) - 3);
    case Kind::equal:
      return Score{0.25};
    case Kind::zeros:  // -0 and +0 are equal: the index decides
      return words[1] % 2 == 0 ? Score{0} : -Score{0};
    case Kind::extremes: {
      const Score values[] = {kInfinity,
                              -kInfinity,
                              std::numeric_limits<Score>::max(),
                              std::numeric_limits<Score>::denorm_min(),
                              Score{0},
                              -Score{0}};
      return values[words[1] % 6];
    }
    case Kind::close:  // differ in the last bits only
      return Score{1} + static_cast<Score>(words[1] % 50) * std::numeric_limits<Score>::epsilon();
  }
  return 0;
}

template <class Score>
void check_all_kinds() {
  for (const int threads : {1, 3}) {
    const ThreadCount scope(threads);
    for (const Kind kind :
         {Kind::spread, Kind::ties, Kind::equal, Kind::zeros, Kind::extremes, Kind::close}) {
      for (const size_t n : {1, 2, 17, 1003}) {
        std::vector<Score> scores(n);
        for (size_t i = 0; i < n; ++i)
          scores[i] = score<Score>(kind, i);
        for (const bool some : {false, true}) {
          Mask candidate;
          for (size_t i = 0; some && i < n; ++i)
            candidate.push_back(sculpt::philox4x32(3, i, 0)[0] % 3 == 0 ? 0 : 2);
          const int64_t candidates =
              some ? static_cast<int64_t>(n) - std::count(candidate.begin(), candidate.end(), 0)
                   : static_cast<int64_t>(n);
          for (const int64_t k : {int64_t{0}, int64_t{1}, candidates / 10, candidates / 2,
                                  candidates - 1, candidates}) {
            if (k < 0 || k > candidates) continue;
            CAPTURE(fmt::format("{} threads, kind {}, n {}, candidates {}, k {}", threads,
                                static_cast<int>(kind), n, candidates, k));
            const Mask expected = naive_top_k(scores, candidate, k);
            Mask keep(n, 9);
            CHECK(select_top_k(keep, scores, candidate, k).first_nan == -1);
            CHECK(keep == expected);
            if (!some) continue;
            Mask in_place = candidate;
            select_top_k(in_place, scores, in_place, k);
            CHECK(in_place == expected);
          }
        }
      }
    }
  }
}

TEST_CASE("ranking: floats against a stable sort") {
  check_all_kinds<float>();
}

TEST_CASE("ranking: doubles against a stable sort") {
  check_all_kinds<double>();
}

TEST_CASE("ranking: doubles that are equal as floats are told apart") {
  std::vector<double> scores = {1.0, 1.0 + 1e-15, 1.0 + 2e-15, 1.0};
  Mask keep(4);
  select_top_k(keep, scores, {}, 2);
  CHECK(keep == Mask{0, 1, 1, 0});
}

TEST_CASE("ranking: the first NaN among the candidates is reported and the mask left alone") {
  for (const int threads : {1, 3}) {
    const ThreadCount scope(threads);
    std::vector<float> scores(10000, 1.0f);
    for (const size_t i : {700, 6000, 9999})
      scores[i] = std::nanf("");
    scores[6000] = -scores[6000];
    Mask candidate(scores.size(), 1), keep(scores.size(), 9);
    CHECK(select_top_k(keep, scores, candidate, 5).first_nan == 700);
    candidate[700] = 0;
    CHECK(select_top_k(keep, scores, candidate, 5).first_nan == 6000);
    CHECK(keep == Mask(scores.size(), 9));
    candidate[6000] = candidate[9999] = 0;
    CHECK(select_top_k(keep, scores, candidate, 5).first_nan == -1);
    CHECK(std::count(keep.begin(), keep.end(), 1) == 5);
  }
}

TEST_CASE("ranking: nothing to rank, and more wanted than there is") {
  Mask empty;
  CHECK(select_top_k(empty, std::vector<float>{}, {}, 0).first_nan == -1);
  const std::vector<float> scores = {1, 2, 3};
  const Mask candidate = {1, 0, 1};
  Mask keep(3, 9);
  CHECK_THROWS_AS(select_top_k(keep, scores, candidate, 3), sculpt::Error);
  CHECK_THROWS_AS(select_top_k(keep, scores, candidate, -1), sculpt::Error);
  CHECK_THROWS_AS(select_top_k(keep, std::vector<float>{1}, {}, 1), sculpt::Error);
  CHECK(keep == Mask{9, 9, 9});
}

}  // namespace
