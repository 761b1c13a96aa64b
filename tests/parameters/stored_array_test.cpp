// Arenas that do not store masked elements are compared with plain vectors that do.

#include "engine/parameters/stored_array.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <memory>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {
namespace {

std::vector<uint8_t> random_mask(int64_t count, double density, uint64_t seed) {
  const RandomStream stream(seed, Purpose::test);
  std::vector<uint8_t> mask;
  for (int64_t i = 0; i < count; ++i)
    mask.push_back(stream.uniform(static_cast<uint64_t>(i)) < density ? 1 : 0);
  return mask;
}

const std::vector<int64_t> kCounts = {1, 70, 3, 129, 64};

/// A layout, and for each element whether the layout stores it, computed element by element.
struct Described {
  SharedLayout layout;
  std::vector<bool> has_value;
};

/// The odd parameters at `density`, the others fully; 1: the dense layout.
Described describe(double density, uint64_t seed) {
  Described d;
  std::vector<uint8_t> bytes;
  for (size_t id = 0; id < kCounts.size(); ++id) {
    // The even parameters are masked, too, but they are stored whole.
    const auto mask = random_mask(kCounts[id], density, seed + id);
    bytes.insert(bytes.end(), mask.begin(), mask.end());
    for (const uint8_t kept : mask)
      d.has_value.push_back(density == 1 || id % 2 == 0 || kept != 0);
  }
  constexpr ParameterId kOdd[] = {1, 3};
  if (density == 1)
    d.layout = std::make_shared<const ArenaLayout>(kCounts);
  else
    d.layout = std::make_shared<const ArenaLayout>(
        std::make_shared<const KeptPattern>(kCounts, std::move(bytes)), kOdd);
  return d;
}

/// The array in this layout has these values; elements without one are skipped.
template <class T>
int64_t differences(StoredArray& array, const Described& d, const std::vector<T>& expected) {
  array.convert(d.layout);
  const T* values = reinterpret_cast<const T*>(array.values().host());
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    if (d.has_value[i]) wrong += *values++ != expected[i];
  return wrong;
}

template <class T>
void check_conversions() {
  const Described dense = describe(1, 0);
  StoredArray array("a test", sizeof(T), nullptr, dense.layout);
  CHECK(array.bytes() == 0);
  std::vector<T> expected(dense.has_value.size());
  CHECK(differences(array, describe(0.5, 3), expected) == 0);  // zero before it has memory
  const RandomStream stream(8, Purpose::test);
  for (uint64_t round = 0; round < 12; ++round) {
    CAPTURE(round);
    // Dense to packed, packed to another packed layout, back, nothing kept.
    const double density = round % 3 == 2 ? 1 : round == 4 ? -1 : 0.1 * static_cast<double>(round);
    const Described d = describe(density, 100 * round);
    for (size_t i = 0; i < expected.size(); ++i)
      if (!d.has_value[i]) expected[i] = 0;
    CHECK(differences(array, d, expected) == 0);
    T* values = reinterpret_cast<T*>(array.edit_values().edit_host());
    size_t count = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      if (d.has_value[i]) values[count++] = expected[i] = stream.normal(1000 * round + i);
    CHECK(array.bytes() == count * sizeof(T));
  }
  CHECK(differences(array, dense, expected) == 0);
  array.zero();
  CHECK(differences(array, dense, std::vector<T>(expected.size())) == 0);
}

TEST_CASE("stored array: values survive changes of form, others are zero") {
  check_conversions<float>();
  check_conversions<double>();
}

TEST_CASE("stored array: what a layout leaves out comes back as +0") {
  const Described dense = describe(1, 0), half = describe(0.5, 1);
  StoredArray array("a test", sizeof(float), nullptr, dense.layout);
  auto* values = reinterpret_cast<float*>(array.edit_values().edit_host());
  std::fill_n(values, dense.layout->count(), -0.0f);
  array.convert(half.layout);
  array.convert(dense.layout);
  const auto* after = reinterpret_cast<const float*>(array.values().host());
  for (size_t i = 0; i < dense.has_value.size(); ++i)
    CHECK(std::signbit(after[i]) == half.has_value[i]);
}

/// Two weights and a bias, random values, half of both weights masked.
void fill(ParameterArena& arena) {
  arena.add("a.weight", ParameterKind::conv_weight, {9, 5, 3, 3});
  arena.add("a.bias", ParameterKind::bias, {9});
  arena.add("b.weight", ParameterKind::linear_weight, {7, 9});
  arena.allocate(kernels::cpu_backend());
  const RandomStream stream(4, Purpose::test);
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i) {
    arena.edit_weights()[i] = stream.normal(i);
    arena.edit_momentum()[i] = stream.normal(10000 + i);
    arena.edit_gradients()[i] = stream.normal(20000 + i);
  }
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters()) {
      const auto mask = random_mask(p.count, 0.5, static_cast<uint64_t>(p.offset) + 1);
      if (p.prunable) std::ranges::copy(mask, ParameterArena::slice(masks, p).begin());
    }
  });
}

TEST_CASE("parameters: kept weights lie in order, the others as before") {
  ParameterArena arena;
  fill(arena);
  const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
  const std::vector<float> gradients(arena.gradients().begin(), arena.gradients().end());
  const size_t dense_bytes = arena.bytes();
  const std::vector<ParameterId> ids = {0};
  arena.store_packed(ids);
  const auto mask = arena.masks();
  const int64_t kept = arena.pattern()->kept(0);
  const auto* weight = static_cast<const float*>(arena.weight(0));
  const auto* gradient = static_cast<const float*>(arena.edit_gradient(0));
  int64_t rank = 0;
  for (size_t i = 0; i < 9 * 5 * 9; ++i) {
    if (mask[i] == 0) continue;
    CHECK(weight[rank] == weights[i]);
    CHECK(gradient[rank++] == gradients[i]);
  }
  CHECK(rank == kept);
  const size_t bias = 9 * 5 * 9;
  CHECK(static_cast<const float*>(arena.weight(1))[8] == weights[bias + 8]);
  CHECK(static_cast<const float*>(arena.weight(2))[62] == weights[bias + 9 + 62]);

  const kernels::UpdateArena sgd = arena.update_arena(nullptr, 0);
  CHECK(sgd.count == arena.count() - 9 * 5 * 9 + kept);
  for (int64_t i = 0; i < sgd.count; ++i) {
    const bool is_kept = i < kept || mask[static_cast<size_t>(i - kept) + bias] != 0;
    REQUIRE((sgd.mask[i] != 0) == is_kept);
  }
  CHECK(arena.bytes() < dense_bytes);

  // A whole array that is not stored whole is not shown, and asking for it changes nothing.
  const SharedLayout packed = arena.layout();
  CHECK_THROWS_WITH_AS(arena.weights(), doctest::Contains("call store_dense() first"), Error);
  CHECK_THROWS_AS(arena.edit_gradients(), Error);
  CHECK_THROWS_AS(arena.weight_array(), Error);
  CHECK_THROWS_AS(arena.zero_masked(), Error);
  CHECK(arena.layout() == packed);
  CHECK(arena.weight(0) == weight);

  arena.store_dense();
  CHECK(std::ranges::equal(arena.weights(), weights));
  for (size_t i = 0; i < gradients.size(); ++i)
    CHECK(arena.gradients()[i] == (i < bias && mask[i] == 0 ? 0 : gradients[i]));
}

TEST_CASE("parameters: the layout changes where it is asked for, and where the mask changes") {
  ParameterArena arena;
  fill(arena);
  const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
  const std::vector<ParameterId> ids = {0, 2};
  arena.store_packed(ids);
  const SharedLayout packed = arena.layout();
  CHECK(arena.update_arena(nullptr, 0).mask == nullptr);  // nothing that is stored is masked
  arena.masks();
  arena.edit_masks([](std::span<uint8_t>) {});  // the same mask
  arena.store_packed(ids);
  CHECK(arena.layout() == packed);
  arena.store_dense();
  CHECK(arena.layout()->dense());
  CHECK(std::equal(weights.begin(), weights.end(), static_cast<const float*>(arena.weight(0))));
  arena.store_packed(ids);
  CHECK(arena.layout() == packed);  // it is not made again
  arena.edit_masks([](std::span<uint8_t> masks) { masks[0] ^= 1; });
  CHECK(arena.layout()->dense());
  arena.store_packed(ids);
  CHECK(arena.layout() != packed);
  arena.store_packed({});
  CHECK(arena.layout()->dense());
}

}  // namespace
}  // namespace sculpt
