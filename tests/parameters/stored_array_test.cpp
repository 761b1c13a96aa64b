// Arenas that do not store masked elements are compared with plain vectors that do.

#include "engine/parameters/stored_array.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <memory>
#include <utility>
#include <vector>

#include "engine/core/random.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {
namespace {

constexpr int64_t kCounts[] = {1, 70, 3, 129, 64};

std::vector<uint8_t> random_mask(int64_t count, double density, uint64_t seed) {
  const RandomStream stream(seed, Purpose::test);
  std::vector<uint8_t> mask;
  for (int64_t i = 0; i < count; ++i)
    mask.push_back(stream.uniform(static_cast<uint64_t>(i)) < density ? 1 : 0);
  return mask;
}

/// A layout, and for each element whether the layout stores it, computed element by element.
struct Described {
  StoredArray::SharedLayout form;
  std::vector<bool> has_value;
};

/// The odd parameters at `density`, the others fully; 1: the dense layout.
Described describe(double density, uint64_t seed) {
  ArenaLayout form;
  Described d;
  for (size_t id = 0; id < std::size(kCounts); ++id) {
    const bool all = density == 1 || id % 2 == 0;
    const auto mask = random_mask(kCounts[id], all ? 2 : density, seed + id);
    all ? form.add(kCounts[id]) : form.add_kept(mask);
    d.has_value.insert(d.has_value.end(), mask.begin(), mask.end());
  }
  d.form = std::make_shared<const ArenaLayout>(std::move(form));
  return d;
}

/// The array in this form has these values; elements without one are skipped.
template <class T>
int64_t differences(const StoredArray& array, const Described& d, const std::vector<T>& expected) {
  const T* values = reinterpret_cast<const T*>(array.in(d.form).host());
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    if (d.has_value[i]) wrong += *values++ != expected[i];
  return wrong;
}

template <class T>
void check_conversions() {
  const Described dense = describe(1, 0);
  StoredArray array("a test", sizeof(T), nullptr, dense.form);
  CHECK(array.bytes() == 0);
  std::vector<T> expected(dense.has_value.size());
  CHECK(differences(array, describe(0.5, 3), expected) == 0);  // zero before it has memory
  const RandomStream stream(8, Purpose::test);
  for (uint64_t round = 0; round < 12; ++round) {
    CAPTURE(round);
    // Dense to compact, compact to another compact, back, nothing kept.
    const double density = round % 3 == 2 ? 1 : round == 4 ? -1 : 0.1 * static_cast<double>(round);
    const Described d = describe(density, 100 * round);
    for (size_t i = 0; i < expected.size(); ++i)
      if (!d.has_value[i]) expected[i] = 0;
    CHECK(differences(array, d, expected) == 0);
    T* values = reinterpret_cast<T*>(array.in(d.form).host());
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

TEST_CASE("stored array: what a form leaves out comes back as +0") {
  const Described dense = describe(1, 0), half = describe(0.5, 1);
  StoredArray array("a test", sizeof(float), nullptr, dense.form);
  auto* values = reinterpret_cast<float*>(array.in(dense.form).host());
  std::fill_n(values, dense.form->count(), -0.0f);
  array.in(half.form);
  values = reinterpret_cast<float*>(array.in(dense.form).host());
  for (size_t i = 0; i < dense.has_value.size(); ++i)
    CHECK(std::signbit(values[i]) == half.has_value[i]);
}

/// Two weights and a bias, random values, half of both weights masked.
void fill(ParameterArena& arena) {
  arena.add("a.weight", ParameterKind::conv_weight, {9, 5, 3, 3});
  arena.add("a.bias", ParameterKind::bias, {9});
  arena.add("b.weight", ParameterKind::linear_weight, {7, 9});
  arena.allocate(kernels::cpu_backend());
  const RandomStream stream(4, Purpose::test);
  for (size_t i = 0; i < static_cast<size_t>(arena.count()); ++i) {
    arena.weights()[i] = stream.normal(i);
    arena.momentum()[i] = stream.normal(10000 + i);
    arena.gradients()[i] = stream.normal(20000 + i);
  }
  for (const Parameter& p : arena.parameters()) {
    const auto mask = random_mask(p.count, 0.5, static_cast<uint64_t>(p.offset) + 1);
    if (p.prunable) std::ranges::copy(mask, ParameterArena::slice(arena.masks(), p).begin());
  }
  arena.apply_masks();
}

TEST_CASE("parameters: kept weights lie in order, the others as before") {
  ParameterArena arena;
  fill(arena);
  const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
  const std::vector<float> gradients(arena.gradients().begin(), arena.gradients().end());
  const size_t dense_bytes = arena.bytes();
  const std::vector<ParameterId> ids = {0};
  arena.store_kept(ids);
  const auto mask = std::as_const(arena).masks();
  const int64_t kept = arena.kept_count(0);
  const auto* weight = static_cast<const float*>(arena.weight(0));
  const auto* gradient = static_cast<const float*>(arena.gradient(0));
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

  const kernels::SgdArena sgd = arena.sgd_arena(nullptr, 0);
  CHECK(sgd.count == arena.count() - 9 * 5 * 9 + kept);
  for (int64_t i = 0; i < sgd.count; ++i) {
    const bool is_kept = i < kept || mask[static_cast<size_t>(i - kept) + bias] != 0;
    REQUIRE((sgd.mask[i] != 0) == is_kept);
  }
  CHECK(arena.bytes() < dense_bytes);

  // A view expands what it shows, and only that.
  const size_t compact_bytes = arena.bytes();
  CHECK(std::ranges::equal(arena.weights(), weights));
  const auto masked = static_cast<size_t>(9 * 5 * 9 - kept);
  CHECK(arena.bytes() == compact_bytes + masked * sizeof(float));
  for (size_t i = 0; i < gradients.size(); ++i)
    CHECK(arena.gradients()[i] == (i < bias && mask[i] == 0 ? 0 : gradients[i]));
}

TEST_CASE("parameters: dense again where masks may change, for kernels too") {
  ParameterArena arena;
  fill(arena);
  const std::vector<float> weights(arena.weights().begin(), arena.weights().end());
  const std::vector<ParameterId> ids = {0, 2};
  arena.store_kept(ids);
  const StoredArray::SharedLayout compact = arena.layout();
  CHECK(arena.sgd_arena(nullptr, 0).mask == nullptr);  // nothing that is stored is masked
  arena.masks();
  CHECK(arena.layout()->dense());
  CHECK(std::equal(weights.begin(), weights.end(), static_cast<const float*>(arena.weight(0))));
  // Nothing has changed: what has not been asked for need not move.
  arena.store_kept(ids);
  CHECK(arena.layout() == compact);
  arena.masks()[0] ^= 1;
  arena.store_kept(ids);
  CHECK(arena.layout() != compact);
  arena.masks();
  arena.store_kept({});
  CHECK(arena.layout()->dense());
}

}  // namespace
}  // namespace sculpt
