#include "engine/analyze/network_values.h"

#include <algorithm>

#include "engine/core/error.h"

namespace sculpt {
namespace {

template <class To>
void copy_values(const std::vector<float>& from, std::span<To> to) {
  SCULPT_CHECK(from.size() == to.size(), "{} values for a network of {}", from.size(), to.size());
  std::ranges::transform(from, to.begin(), [](float value) { return static_cast<To>(value); });
}

template <class From>
std::vector<float> floats_of(std::span<const From> from) {
  std::vector<float> to(from.size());
  std::ranges::transform(from, to.begin(), [](From value) { return static_cast<float>(value); });
  return to;
}

std::vector<float> mixed(const std::vector<float>& a, const std::vector<float>& b, double alpha) {
  SCULPT_CHECK(a.size() == b.size(), "networks of {} and {} values", a.size(), b.size());
  std::vector<float> result(a.size());
  for (size_t i = 0; i < a.size(); ++i)
    result[i] = static_cast<float>((1 - alpha) * double{a[i]} + alpha * double{b[i]});
  return result;
}

}  // namespace

void set_values(Network& network, const StoredNetwork& values) {
  ParameterArena& arena = network.parameters();
  arena.store_dense();
  arena.edit_masks([&](std::span<uint8_t> masks) {
    SCULPT_CHECK(values.masks.size() == masks.size(), "masks of {} elements for {}",
                 values.masks.size(), masks.size());
    std::ranges::copy(values.masks, masks.begin());
  });
  if (arena.element_bytes() == sizeof(double)) {
    copy_values(values.weights, arena.edit_weights<double>());
    copy_values(values.states, arena.edit_state_values<double>());
  } else {
    copy_values(values.weights, arena.edit_weights<float>());
    copy_values(values.states, arena.edit_state_values<float>());
  }
  arena.batches_tracked = values.batches_tracked;
  arena.zero_masked();
}

StoredNetwork values_of(Network& network) {
  ParameterArena& arena = network.parameters();
  arena.store_dense();
  StoredNetwork values;
  if (arena.element_bytes() == sizeof(double)) {
    values.weights = floats_of(arena.weights<double>());
    values.states = floats_of(arena.state_values<double>());
  } else {
    values.weights = floats_of(arena.weights<float>());
    values.states = floats_of(arena.state_values<float>());
  }
  values.masks.assign(arena.masks().begin(), arena.masks().end());
  values.batches_tracked = arena.batches_tracked;
  return values;
}

StoredNetwork between(const StoredNetwork& a, const StoredNetwork& b, double alpha) {
  StoredNetwork result;
  result.weights = mixed(a.weights, b.weights, alpha);
  result.states = mixed(a.states, b.states, alpha);
  result.batches_tracked = alpha < 0.5 ? a.batches_tracked : b.batches_tracked;
  SCULPT_CHECK(a.masks.size() == b.masks.size(), "masks of {} and {} elements", a.masks.size(),
               b.masks.size());
  result.masks.resize(a.masks.size());
  std::ranges::transform(a.masks, b.masks, result.masks.begin(),
                         [](uint8_t x, uint8_t y) { return x | y; });
  return result;
}

}  // namespace sculpt
