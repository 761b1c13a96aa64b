// The device's ranking against the host's, which tests/kernels/ranking_test.cpp checks by sorting.

#include "kernels/ranking.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/check.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

struct Ranked {
  std::vector<uint8_t> keep;
  RankingResult result;
};

constexpr uint8_t kUntouched = 9;

Ranked rank(const Backend& backend, const std::vector<float>& scores,
            const std::vector<uint8_t>& candidates, int64_t k) {
  const auto count = std::ssize(scores);
  DeviceCopy device_scores(backend, scores);
  DeviceCopy device_candidates(backend, candidates);
  DeviceCopy keep(backend, std::vector<uint8_t>(scores.size(), kUntouched));
  DeviceScratch scratch(backend, backend.ranking.workspace_bytes(count));
  const RankingResult result = backend.ranking.select_top_k(
      keep.data(), device_scores.data(), candidates.empty() ? nullptr : device_candidates.data(),
      count, k, scratch.data(), backend.stream);
  return {keep.values(), result};
}

/// Few distinct values, so that ties cross the threshold, or many.
std::vector<float> random_scores(int64_t count, uint64_t seed, bool ties) {
  std::vector<float> scores;
  for (const double v : random_values(count, seed, ties ? 4 : 1))
    scores.push_back(static_cast<float>(ties ? std::round(v) * 0.5 : v));
  return scores;
}

std::vector<uint8_t> random_candidates(int64_t count, uint64_t seed) {
  std::vector<uint8_t> candidates;
  for (const double v : random_values(count, seed))
    candidates.push_back(v > -0.3 ? 1 : 0);
  return candidates;
}

TEST_CASE("device ranking: the same mask as the host's") {
  const Backend& backend = *tested_backends().front();
  for (const int64_t count : {1, 31, 257, 5000}) {
    for (const bool ties : {false, true}) {
      for (const bool all : {false, true}) {
        const auto scores = random_scores(count, 7, ties);
        const auto candidates = all ? std::vector<uint8_t>{} : random_candidates(count, 8);
        const int64_t available =
            all ? count : std::count(candidates.begin(), candidates.end(), uint8_t{1});
        for (const int64_t k : {int64_t{0}, int64_t{1}, available / 3, available - 1, available}) {
          if (k < 0 || k > available) continue;
          CAPTURE(fmt::format("count {} ties {} all {} k {}", count, ties, all, k));
          std::vector<uint8_t> expected(scores.size());
          select_top_k(expected, std::span(scores), candidates, k);
          CHECK(rank(backend, scores, candidates, k).keep == expected);
        }
      }
    }
  }
}

TEST_CASE("device ranking: a NaN among the candidates is reported and leaves the mask alone") {
  const Backend& backend = *tested_backends().front();
  auto scores = random_scores(600, 3, false);
  std::vector<uint8_t> candidates(scores.size(), 1);
  scores[599] = scores[400] = scores[17] = std::nanf("");
  candidates[17] = 0;
  const Ranked ranked = rank(backend, scores, candidates, 10);
  CHECK(ranked.result.first_nan == 400);
  CHECK(std::ranges::all_of(ranked.keep, [](uint8_t k) { return k == kUntouched; }));
}

TEST_CASE("device ranking: impossible numbers are refused") {
  const Backend& backend = *tested_backends().front();
  const auto scores = random_scores(20, 3, false);
  CHECK_THROWS_AS(rank(backend, scores, {}, 21), sculpt::Error);
  CHECK_THROWS_AS(rank(backend, scores, {}, -1), sculpt::Error);
}

}  // namespace
