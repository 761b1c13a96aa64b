// The kernels of pruning against plain loops: same bits, except for the norm.

#include "kernels/pruning.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/kernel_test_util.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;

/// Runs with other parameters before, between and behind them; one is longer than a block's tile.
const std::vector<PrunableRun> kRuns = {{3, 0, 1}, {4, 1, 700}, {710, 701, 5003}, {5720, 5704, 33}};
constexpr int64_t kCount = 5737;
constexpr int64_t kArena = 5760;

bool same_bits(double a, double b) {
  return a == b ? std::signbit(a) == std::signbit(b) : std::isnan(a) && std::isnan(b);
}

bool same_bits(const Values& a, const Values& b) {
  return std::ranges::equal(a, b, [](double x, double y) { return same_bits(x, y); });
}

/// An arena of a backend, its runs, and arrays over the concatenated weights.
struct Setup {
  explicit Setup(const Backend& b) : backend(b) {
    const double specials[] = {0.0, -0.0, std::numeric_limits<float>::infinity(), 0x1p-149};
    arena_values = random_values(kArena, 3, 2);
    for (size_t i = 0; i < std::size(specials); ++i)
      arena_values[10 + i] = -(arena_values[20 + i] = specials[i]);
    for (int64_t a = 0; a < kArena; ++a)
      mask.push_back(random_values(1, static_cast<uint64_t>(a) + 50)[0] > 0 ? 1 : 0);
    for (const PrunableRun& run : kRuns)
      for (int64_t i = 0; i < run.count; ++i)
        at.push_back(static_cast<size_t>(run.offset + i));
    for (const double v : random_values(kCount, 5))
      concatenated.push_back(v * 1.1);  // no floats
  }

  PrunableRuns runs() { return {table.data(), std::ssize(kRuns), kCount}; }
  DeviceCopy<double> doubles(const Values& values) { return {backend, values}; }

  const Backend& backend;
  DeviceCopy<PrunableRun> table{backend, kRuns};
  Values arena_values;
  std::vector<uint8_t> mask;
  std::vector<size_t> at;  ///< where each weight lies in the arena
  Values concatenated;
};

TEST_CASE("pruning kernels: magnitude and gather take the weights out of the arena") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    Array arena(*backend, s.arena_values);
    Array scores(*backend, Values(kCount, 7));
    auto gathered = s.doubles(Values(kCount, 7));
    backend->pruning.magnitude(scores.data(), arena.data(), s.runs(), backend->stream);
    backend->pruning.gather(gathered.data(), arena.data(), s.runs(), backend->stream);
    Values magnitudes, values;
    for (const size_t a : s.at) {
      values.push_back(s.arena_values[a]);
      magnitudes.push_back(std::abs(s.arena_values[a]));
    }
    CHECK(same_bits(scores.values(), magnitudes));
    CHECK(same_bits(gathered.values(), values));
  }
}

TEST_CASE("pruning kernels: uniform numbers are a function of key and index") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    auto scores = s.doubles(Values(kCount, 7));
    backend->pruning.uniform(scores.data(), 0x1234567890abcdefull, kCount, backend->stream);
    Values expected;
    for (uint64_t i = 0; i < kCount; ++i) {
      const auto w = sculpt::philox4x32(0x1234567890abcdefull, i, 0);
      expected.push_back(static_cast<double>((uint64_t{w[1]} << 32 | w[0]) >> 11) / 0x1p53);
    }
    CHECK(scores.values() == expected);
  }
}

TEST_CASE("pruning kernels: sums, products and absolute values") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    Array arena(*backend, s.arena_values);
    DeviceCopy mask(*backend, s.mask);
    auto sum = s.doubles(s.concatenated), product = s.doubles(s.concatenated);
    auto positive = s.doubles(s.concatenated);
    const double factor = 1.0 / 3;
    backend->pruning.add_scaled(sum.data(), factor, arena.data(), mask.data(), s.runs(),
                                backend->stream);
    backend->pruning.multiply(product.data(), arena.data(), s.runs(), backend->stream);
    backend->pruning.absolute(positive.data(), kCount, backend->stream);
    Values sums = s.concatenated, products = s.concatenated, positives = s.concatenated;
    for (size_t i = 0; i < kCount; ++i) {
      const double value = s.arena_values[s.at[i]];
      const volatile double scaled = factor * value;  // no fused multiply-add
      if (s.mask[s.at[i]] != 0) sums[i] += scaled;
      products[i] *= value;
      positives[i] = std::abs(positives[i]);
    }
    CHECK(same_bits(sum.values(), sums));
    CHECK(same_bits(product.values(), products));
    CHECK(same_bits(positive.values(), positives));
  }
}

TEST_CASE("pruning kernels: the norm, and the first number that is none") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    DeviceScratch workspace(*backend, backend->pruning.workspace_bytes());
    auto values = s.doubles(s.concatenated);
    const auto norm = [&](int64_t count) {
      return backend->pruning.norm(values.data(), count, workspace.data(), backend->stream);
    };
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{300}, kCount}) {
      double squares = 0;
      for (int64_t i = 0; i < count; ++i)
        squares += s.concatenated[i] * s.concatenated[i];
      CHECK(norm(count) == doctest::Approx(std::sqrt(squares)).epsilon(1e-13));
    }
    CHECK(norm(kCount) == norm(kCount));

    const auto not_finite = [&](int64_t count) {
      return backend->pruning.first_not_finite(values.data(), count, workspace.data(),
                                               backend->stream);
    };
    CHECK(not_finite(kCount) == -1);
    values.host()[1] = std::numeric_limits<double>::max();
    CHECK(not_finite(kCount) == -1);
    values.host()[5000] = -std::numeric_limits<double>::infinity();
    CHECK(not_finite(kCount) == 5000);
    CHECK(not_finite(5000) == -1);
    values.host()[4999] = std::nan("");
    CHECK(not_finite(kCount) == 4999);
  }
}

TEST_CASE("pruning kernels: weights move along a line and come back to their very bits") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    Array arena(*backend, s.arena_values);
    auto origin = s.doubles(Values(kCount, 7)), direction = s.doubles(s.concatenated);
    backend->pruning.gather(origin.data(), arena.data(), s.runs(), backend->stream);
    Values expected = s.arena_values;
    for (size_t i = 0; i < kCount; ++i) {
      const volatile double step = 0.3 * s.concatenated[i];  // no fused multiply-add
      const double moved = s.arena_values[s.at[i]] + step;
      expected[s.at[i]] =
          backend->parameter_bytes == sizeof(float) ? static_cast<float>(moved) : moved;
    }
    backend->pruning.move(arena.data(), origin.data(), direction.data(), 0.3, s.runs(),
                          backend->stream);
    CHECK(same_bits(arena.values(), expected));
    backend->pruning.move(arena.data(), origin.data(), direction.data(), 0, s.runs(),
                          backend->stream);
    CHECK(same_bits(arena.values(), s.arena_values));
  }
}

TEST_CASE("pruning kernels: absolute values and powers of two of a whole arena") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    Array arena(*backend, s.arena_values);
    constexpr int64_t kSome = kArena - 100;  // leaves the rest alone
    backend->pruning.arena_absolute(arena.data(), kSome, backend->stream);
    backend->pruning.arena_scale(arena.data(), 0x1p-20, kSome / 2, backend->stream);
    Values expected = s.arena_values;
    for (int64_t j = 0; j < kSome; ++j)
      expected[j] = std::abs(expected[j]) * (j < kSome / 2 ? 0x1p-20 : 1);
    if (backend->parameter_bytes == sizeof(float))  // the denormal number underflows
      for (double& v : expected)
        v = static_cast<float>(v);
    CHECK(same_bits(arena.values(), expected));
  }
}

TEST_CASE("pruning kernels: masks are gathered, counted and applied") {
  for (const Backend* backend : all_backends()) {
    CAPTURE(backend->name);
    Setup s(*backend);
    DeviceCopy mask(*backend, s.mask);
    DeviceCopy bytes(*backend, std::vector<uint8_t>(kCount, 9));
    DeviceCopy counts(*backend, std::vector<int64_t>(kRuns.size(), 99));
    backend->pruning.gather_mask(bytes.data(), mask.data(), s.runs(), backend->stream);
    backend->pruning.count(counts.data(), bytes.data(), s.runs(), backend->stream);
    std::vector<uint8_t> gathered;
    for (const size_t a : s.at)
      gathered.push_back(s.mask[a]);
    CHECK(bytes.values() == gathered);
    for (size_t r = 0; r < kRuns.size(); ++r) {
      const auto first = gathered.begin() + kRuns[r].first;
      CHECK(counts.values()[r] == std::count(first, first + kRuns[r].count, 1));
    }

    Array weight(*backend, s.arena_values), momentum(*backend, s.arena_values);
    DeviceCopy target(*backend, std::vector<uint8_t>(kArena, 1));
    backend->pruning.apply_mask(target.data(), weight.data(), momentum.data(), bytes.data(),
                                s.runs(), backend->stream);
    Values values = s.arena_values;
    std::vector<uint8_t> target_mask(kArena, 1);
    for (size_t i = 0; i < kCount; ++i) {
      target_mask[s.at[i]] = gathered[i];
      if (gathered[i] == 0) values[s.at[i]] = 0.0;
    }
    CHECK(target.values() == target_mask);
    CHECK(same_bits(weight.values(), values));
    CHECK(same_bits(momentum.values(), values));
  }
}

}  // namespace
