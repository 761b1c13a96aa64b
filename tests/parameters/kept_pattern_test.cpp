// Patterns of kept elements against naive loops over random masks, and the one way in which an
// arena's mask changes.

#include "engine/parameters/kept_pattern.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <set>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/parameters/parameter_arena.h"
#include "tests/support/tested_backends.h"

namespace sculpt {
namespace {

/// Random counts and a random mask, with parameters of which nothing or everything is kept.
struct RandomPattern {
  std::vector<int64_t> counts;
  std::vector<uint8_t> bytes;

  explicit RandomPattern(uint64_t seed) {
    const RandomStream random(seed, Purpose::test);
    uint64_t draw = 0;
    const uint64_t parameters = 1 + random.below(draw++, 6);
    for (uint64_t id = 0; id < parameters; ++id) {
      counts.push_back(1 + static_cast<int64_t>(random.below(draw++, 150)));
      const float densities[] = {0, 0.03f, 0.5f, 0.97f, 1};
      const float density = densities[random.below(draw++, 5)];
      for (int64_t i = 0; i < counts.back(); ++i)
        bytes.push_back(random.uniform(draw++) < density ? 1 : 0);
    }
  }
  KeptPattern make() const { return {counts, bytes}; }
};

template <class T>
void check_gather_and_scatter(const KeptPattern& pattern, ParameterId id,
                              std::span<const uint8_t> mask) {
  const RandomStream random(9, Purpose::test);
  std::vector<T> all(mask.size()), kept;
  for (size_t i = 0; i < mask.size(); ++i) {
    all[i] = random.normal(i);
    if (mask[i] != 0) kept.push_back(all[i]);
  }
  std::vector<T> gathered(kept.size() + 1, T{77});  // one more, which must stay
  pattern.gather(id, gathered.data(), all.data());
  CHECK(gathered.back() == T{77});
  gathered.pop_back();
  CHECK(gathered == kept);
  std::vector<T> scattered(all.size(), T{-0.0});
  pattern.scatter(id, scattered.data(), kept.data());
  for (size_t i = 0; i < all.size(); ++i) {
    CHECK(scattered[i] == (mask[i] != 0 ? all[i] : T{0}));
    if (mask[i] == 0) CHECK_FALSE(std::signbit(scattered[i]));
  }
}

TEST_CASE("kept pattern: counts, indices, gather and scatter are those of naive loops") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    const RandomPattern random(seed);
    const KeptPattern pattern = random.make();
    CHECK(std::ranges::equal(pattern.bytes(), random.bytes));
    size_t first = 0;
    for (size_t p = 0; p < random.counts.size(); ++p) {
      const auto id = static_cast<ParameterId>(p);
      const auto count = static_cast<size_t>(random.counts[p]);
      const std::vector<uint8_t> mask(random.bytes.begin() + static_cast<int64_t>(first),
                                      random.bytes.begin() + static_cast<int64_t>(first + count));
      first += count;
      std::vector<int64_t> indices;
      for (size_t i = 0; i < count; ++i)
        if (mask[i] == 1) indices.push_back(static_cast<int64_t>(i));
      CHECK(std::ranges::equal(pattern.bytes(id), mask));
      CHECK(pattern.kept(id) == std::ssize(indices));
      CHECK(pattern.all_kept(id) == (indices.size() == count));
      CHECK(pattern.density(id) ==
            static_cast<double>(indices.size()) / static_cast<double>(count));
      CHECK(pattern.kept_indices(id) == indices);
      check_gather_and_scatter<float>(pattern, id, mask);
      check_gather_and_scatter<double>(pattern, id, mask);
    }
  }
}

TEST_CASE("kept pattern: equality and hash see every element") {
  const RandomPattern random(3);
  const KeptPattern pattern = random.make();
  CHECK(pattern == random.make());
  CHECK(pattern.hash() == random.make().hash());
  std::set<std::string> hashes = {pattern.hash()};
  size_t first = 0;
  for (size_t p = 0; p < random.counts.size(); ++p) {
    const auto id = static_cast<ParameterId>(p);
    for (int64_t i = 0; i < random.counts[p]; ++i, ++first) {
      RandomPattern other = random;
      other.bytes[first] ^= 1;
      const KeptPattern changed = other.make();
      CHECK_FALSE(pattern == changed);
      hashes.insert(changed.hash());
      for (size_t q = 0; q < random.counts.size(); ++q)
        CHECK(pattern.same(static_cast<ParameterId>(q), changed) == (q != p));
      CHECK(std::abs(pattern.kept(id) - changed.kept(id)) == 1);
    }
  }
  CHECK(hashes.size() == random.bytes.size() + 1);

  // As many kept elements, but others.
  const KeptPattern front({4, 3}, {1, 1, 0, 0, 1, 0, 1}), back({4, 3}, {0, 0, 1, 1, 1, 0, 1});
  CHECK_FALSE(front.same(0, back));
  CHECK(front.same(1, back));
  CHECK_FALSE(front == back);
  const KeptPattern all(random.counts);
  CHECK(std::ranges::count(all.bytes(), 1) == std::ssize(random.bytes));
}

TEST_CASE("kept pattern: bytes that cannot be a mask are refused") {
  CHECK_THROWS_AS(KeptPattern({3, 2}, {1, 1, 1, 1}), Error);
  CHECK_THROWS_AS(KeptPattern({3, 2}, {1, 1, 2, 1, 0}), Error);
}

template <class T>
void check_arena(const kernels::Backend& backend) {
  CAPTURE(backend.name);
  ParameterArena arena;
  arena.add("a.weight", ParameterKind::conv_weight, {5, 3, 3, 3});
  arena.add("a.bias", ParameterKind::bias, {5});
  arena.add("b.weight", ParameterKind::linear_weight, {7, 5});
  arena.allocate(backend);
  const OptimizerArrayId second = arena.add_optimizer_array("second");
  const auto count = static_cast<size_t>(arena.count());
  const RandomStream random(6, Purpose::test);
  for (size_t i = 0; i < count; ++i) {
    arena.edit_weights<T>()[i] = random.normal(i);
    arena.edit_momentum<T>()[i] = random.normal(1000 + i);
    arena.edit_optimizer_values<T>(second)[i] = random.normal(2000 + i);
  }
  const auto draw = [&](uint64_t seed) {
    return [&arena, seed](std::span<uint8_t> masks) {
      const RandomStream bits(seed, Purpose::test);
      for (const Parameter& p : arena.parameters())
        for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i)
          masks[static_cast<size_t>(i)] = bits.below(static_cast<uint64_t>(i), 2) != 0;
    };
  };
  std::vector<T> expected[3];
  const auto expect = [&] {
    const std::span<const T> arrays[] = {arena.weights<T>(), arena.momentum<T>(),
                                         arena.optimizer_values<T>(second)};
    for (size_t array = 0; array < 3; ++array)
      for (size_t i = 0; i < count; ++i) {
        if (arena.masks()[i] == 0) expected[array][i] = 0;
        REQUIRE(arrays[array][i] == expected[array][i]);
        if (expected[array][i] == 0) REQUIRE_FALSE(std::signbit(arrays[array][i]));
      }
  };
  expected[0].assign(arena.weights<T>().begin(), arena.weights<T>().end());
  expected[1].assign(arena.momentum<T>().begin(), arena.momentum<T>().end());
  expected[2].assign(arena.optimizer_values<T>(second).begin(),
                     arena.optimizer_values<T>(second).end());

  // Masks shrink and grow; what comes back is zero, even if it was written while it was masked.
  for (uint64_t seed = 1; seed < 5; ++seed) {
    const SharedPattern before = arena.pattern();
    for (size_t i = 0; i < count; ++i)
      if (arena.masks()[i] == 0) arena.edit_weights<T>()[i] = -3;
    arena.edit_masks(draw(seed));
    CHECK(arena.pattern() != before);
    expect();
    std::vector<uint8_t> on_backend(count);
    if (backend.memory)
      backend.memory->copy_out(on_backend.data(), arena.mask_array(), count);
    else
      std::copy_n(arena.mask_array(), count, on_backend.begin());
    CHECK(std::ranges::equal(on_backend, arena.masks()));
  }
  int64_t kept = 0;
  for (const Parameter& p : arena.parameters())
    for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i)
      kept += arena.masks()[static_cast<size_t>(i)];
  CHECK(arena.kept_count() == kept);

  // The same mask again is the same object, so nobody has anything to follow.
  const SharedPattern present = arena.pattern();
  arena.edit_masks(draw(4));
  CHECK(arena.pattern() == present);
  // An edit that fails, or masks what cannot be masked, changes nothing.
  CHECK_THROWS_AS(arena.edit_masks([](std::span<uint8_t>) { fail("no"); }), Error);
  CHECK_THROWS_WITH_AS(arena.edit_masks([](std::span<uint8_t> masks) { masks[5 * 27] = 0; }),
                       doctest::Contains("'a.bias', which cannot be pruned"), Error);
  CHECK(arena.pattern() == present);
  expect();
  // Another arena of the same parameters shares the object.
  ParameterArena copy;
  copy.add("a.weight", ParameterKind::conv_weight, {5, 3, 3, 3});
  copy.add("a.bias", ParameterKind::bias, {5});
  copy.add("b.weight", ParameterKind::linear_weight, {7, 5});
  copy.allocate(kernels::reference_backend());
  copy.set_pattern(present);
  CHECK(copy.pattern() == present);
}

TEST_CASE("kept pattern: an arena's mask changes at once, everywhere, and only if it differs") {
  for (const kernels::Backend* backend : test::tested_backends())
    backend->parameter_bytes == 8 ? check_arena<double>(*backend) : check_arena<float>(*backend);
}

}  // namespace
}  // namespace sculpt
