// The ranking of a backend, segment by segment, against a stable sort.

#include "kernels/ranking.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <string>

#include "kernels/common/check.h"
#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using Mask = std::vector<uint8_t>;
using Segments = std::vector<RankingSegment>;

constexpr uint8_t kUntouched = 9;

template <class Score>
struct Case {
  std::vector<Score> scores;
  Mask candidates;  ///< empty: all
  Segments segments;
};

template <class Score>
Mask expected_mask(const Case<Score>& c) {
  Mask keep(c.scores.size(), kUntouched);
  for (const RankingSegment& s : c.segments) {
    std::vector<int64_t> order;
    for (int64_t i = s.offset; i < s.offset + s.count; ++i) {
      keep[i] = 0;
      if (c.candidates.empty() || c.candidates[i] != 0) order.push_back(i);
    }
    std::ranges::stable_sort(order,
                             [&](int64_t a, int64_t b) { return c.scores[a] > c.scores[b]; });
    for (int64_t n = 0; n < s.keep; ++n)
      keep[order[n]] = 1;
  }
  return keep;
}

struct Ranked {
  Mask keep;
  RankingResult result;
};

template <class Score>
Ranked rank(const Backend& backend, const Case<Score>& c, bool in_place = false) {
  const auto count = std::ssize(c.scores);
  DeviceCopy scores(backend, c.scores);
  DeviceCopy candidates(backend, c.candidates);
  DeviceCopy keep(backend, in_place ? c.candidates : Mask(c.scores.size(), kUntouched));
  DeviceScratch scratch(backend, backend.ranking.workspace_bytes(count, std::ssize(c.segments)));
  const uint8_t* from =
      c.candidates.empty() ? nullptr : (in_place ? keep.data() : candidates.data());
  RankingResult result;
  if constexpr (sizeof(Score) == sizeof(float))
    result = backend.ranking.select_f32(keep.data(), scores.data(), from, c.segments,
                                        scratch.data(), backend.stream);
  else
    result = backend.ranking.select_f64(keep.data(), scores.data(), from, c.segments,
                                        scratch.data(), backend.stream);
  return {keep.values(), result};
}

uint32_t word(uint64_t seed, uint64_t i) {
  return sculpt::philox4x32(seed, i, 0)[0];
}

enum class Kind { spread, ties, equal, zeros, extremes, close };
constexpr Kind kKinds[] = {Kind::spread, Kind::ties,     Kind::equal,
                           Kind::zeros,  Kind::extremes, Kind::close};

template <class Score>
Score score_of(Kind kind, uint32_t word) {
  using Limits = std::numeric_limits<Score>;
  const Score extremes[] = {
      Limits::infinity(),      -Limits::infinity(),   Limits::max(), Limits::min(),
      Limits::denorm_min(),    -Limits::denorm_min(), Score{0},      -Score{0},
      Limits::denorm_min() * 3};
  switch (kind) {
    case Kind::spread:
      return static_cast<Score>(
          std::ldexp(static_cast<double>(word >> 8) - 0x1p23, static_cast<int>(word % 200) - 100));
    case Kind::ties:
      return static_cast<Score>(static_cast<int>(word % 7) - 3) / 2;
    case Kind::equal:
      return Score{0.25};
    case Kind::zeros:  // -0 and +0 are equal: the index decides
      return word % 2 == 0 ? Score{0} : -Score{0};
    case Kind::extremes:
      return extremes[word % std::size(extremes)];
    case Kind::close:  // differ in the last bits only
      return Score{1} + static_cast<Score>(word % 50) * Limits::epsilon();
  }
  return 0;
}

/// Cuts `count` scores into segments, some of them empty and some with a gap behind, and lets each
/// keep 0, 1, some, all but one or all of its candidates, in turn.
Segments cut(int64_t count, const Mask& candidates, uint64_t seed) {
  Segments segments;
  for (int64_t begin = 0, n = 0; begin < count; ++n) {
    const int64_t left = count - begin;
    const int64_t length = n % 5 == 4 ? 0 : std::min<int64_t>(left, 1 + word(seed, n) % 700);
    const int64_t here = candidates.empty()
                             ? length
                             : length - std::count(candidates.begin() + begin,
                                                   candidates.begin() + begin + length, 0);
    const int64_t keeps[] = {here / 3, 0, here, 1, here - 1, here / 2};
    segments.push_back({begin, length, std::clamp<int64_t>(keeps[n % 6], 0, here)});
    begin += length + (n % 3 == 2 ? 5 : 0);
  }
  return segments;
}

/// Returns the thread counts to test with. Where kernels work on the host's memory, threads share
/// out the scores of a segment.
std::vector<int> thread_counts(const Backend& backend) {
  return backend.memory == nullptr ? std::vector{1, 3} : std::vector{1};
}

template <class Score>
void check_case(const Backend& backend, const Case<Score>& c) {
  const Mask expected = expected_mask(c);
  for (const int threads : thread_counts(backend)) {
    CAPTURE(threads);
    const ThreadCount scope(threads);
    const Ranked ranked = rank(backend, c);
    CHECK(ranked.result.first_nan == -1);
    CHECK(ranked.keep == expected);
    if (c.candidates.empty() || c.segments.size() > 1) continue;
    CHECK(rank(backend, c, true).keep == expected);
  }
}

template <class Score>
void check_backend(const Backend& backend) {
  for (const Kind kind : kKinds)
    for (const int64_t count : {1, 31, 1027, 9001})
      for (const bool some : {false, true}) {
        Case<Score> c;
        for (int64_t i = 0; i < count; ++i) {
          c.scores.push_back(score_of<Score>(kind, word(17, static_cast<uint64_t>(i))));
          // Any number but 0 marks a candidate.
          if (some) c.candidates.push_back(word(18, static_cast<uint64_t>(i)) % 3);
        }
        const int64_t present = count - std::ranges::count(c.candidates, 0);
        std::vector<Segments> ways = {cut(count, c.candidates, 19)};
        for (const int64_t k :
             {int64_t{0}, int64_t{1}, present / 10, present / 2, present - 1, present})
          if (k >= 0 && k <= present) ways.push_back({{0, count, k}});
        for (const Segments& way : ways) {
          c.segments = way;
          CAPTURE(fmt::format("{} kind {} count {} some {} segments {} keep {}", backend.name,
                              static_cast<int>(kind), count, some, way.size(), way[0].keep));
          check_case(backend, c);
        }
      }
}

TEST_CASE("segmented ranking: floats against a stable sort") {
  for (const Backend* backend : all_backends())
    check_backend<float>(*backend);
}

TEST_CASE("segmented ranking: doubles against a stable sort") {
  for (const Backend* backend : all_backends())
    check_backend<double>(*backend);
}

TEST_CASE("segmented ranking: ties are cut at every place of a long segment") {
  for (const Backend* backend : tested_backends()) {
    Case<float> c;
    c.scores.assign(9000, 1.0f);
    for (const size_t i : {0, 5000, 8999})
      c.scores[i] = 2.0f;
    for (const int64_t keep : {1, 3, 4, 4096, 4097, 4098, 5000, 8192, 8195, 8999}) {
      CAPTURE(keep);
      c.segments = {{0, 9000, keep}};
      CHECK(rank(*backend, c).keep == expected_mask(c));
    }
  }
}

TEST_CASE("segmented ranking: doubles that are equal as floats are told apart") {
  for (const Backend* backend : tested_backends()) {
    Case<double> c{{1.0, 1.0 + 1e-15, 1.0 + 2e-15, 1.0}, {}, {{0, 4, 2}}};
    CHECK(rank(*backend, c).keep == Mask{0, 1, 1, 0});
  }
}

TEST_CASE("segmented ranking: a NaN in any segment is reported and leaves the whole mask alone") {
  for (const Backend* backend : tested_backends()) {
    Case<float> c;
    c.scores.assign(600, 1.0f);
    c.candidates.assign(600, 1);
    c.segments = {{0, 100, 10}, {100, 300, 10}, {410, 190, 10}};
    c.scores[599] = std::nanf("");
    c.scores[450] = -std::nanf("");
    c.scores[405] = c.scores[17] = std::nanf("");  // in no segment, and no candidate
    c.candidates[17] = 0;
    const Ranked ranked = rank(*backend, c);
    CHECK(ranked.result.first_nan == 450);
    CHECK(ranked.keep == Mask(600, kUntouched));
    c.candidates[450] = 0;
    CHECK(rank(*backend, c).result.first_nan == 599);
  }
}

TEST_CASE("segmented ranking: the NaN that is reported is the first one among the candidates") {
  for (const Backend* backend : tested_backends())
    for (const int threads : thread_counts(*backend)) {
      const ThreadCount scope(threads);
      Case<float> c{std::vector(10000, 1.0f), Mask(10000, 1), {{0, 10000, 5}}};
      for (const size_t i : {700, 6000, 9999})
        c.scores[i] = std::nanf("");
      c.scores[6000] = -c.scores[6000];
      CHECK(rank(*backend, c).result.first_nan == 700);
      c.candidates[700] = 0;
      Ranked ranked = rank(*backend, c);
      CHECK(ranked.result.first_nan == 6000);
      CHECK(ranked.keep == Mask(10000, kUntouched));
      c.candidates[6000] = 0;
      CHECK(rank(*backend, c).result.first_nan == 9999);
      c.candidates[9999] = 0;
      ranked = rank(*backend, c);
      CHECK(ranked.result.first_nan == -1);
      CHECK(std::ranges::count(ranked.keep, 1) == 5);
    }
}

TEST_CASE("segmented ranking: nothing to rank, and more wanted than there is") {
  for (const Backend* backend : tested_backends()) {
    Case<float> c{{1, 2, 3, 4}, {1, 0, 1, 1}, {}};
    CHECK(rank(*backend, c).keep == Mask(4, kUntouched));
    c.segments = {{0, 0, 0}};
    CHECK(rank(*backend, c).keep == Mask(4, kUntouched));
    for (const int64_t keep : {-1, 3, 4}) {
      c.segments = {{0, 3, keep}, {3, 1, 1}};
      const std::string message = fmt::format("cannot keep {} of ", keep);
      CHECK_THROWS_WITH_AS(rank(*backend, c), doctest::Contains(message.c_str()), sculpt::Error);
    }
    c.candidates.clear();
    c.segments = {{0, 4, 5}};
    CHECK_THROWS_WITH_AS(rank(*backend, c), doctest::Contains("cannot keep 5 of "), sculpt::Error);
  }
}

}  // namespace
