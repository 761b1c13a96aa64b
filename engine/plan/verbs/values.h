#pragma once
// Actions change values through these functions, which hide the type of the arena's elements.

#include <vector>

#include "engine/nn/network.h"

namespace sculpt {

/// Returns true for the weights of convolutions and linear layers.
inline bool is_layer_weight(const Parameter& p) {
  return p.kind == ParameterKind::conv_weight || p.kind == ParameterKind::linear_weight;
}

/// Returns true for scale and shift of batch norm.
inline bool is_batch_norm(const Parameter& p) {
  return p.kind == ParameterKind::norm_weight || p.kind == ParameterKind::norm_bias;
}

/// Returns value with the sign of `from`, or `value` if `from` is 0.
inline double with_sign_of(double value, double from) {
  if (from == 0) return value;
  const double magnitude = value < 0 ? -value : value;
  return from < 0 ? -magnitude : magnitude;
}

/// Sets each element i of each parameter p to value(p, i, old), where i is its global index, and
/// then masked elements to +0. The arena becomes dense.
template <class Value>
void change_weights(ParameterArena& arena, const Value& value) {
  const auto change = [&]<class T>(std::span<T> weights) {
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
        weights[i] = static_cast<T>(value(p, i, static_cast<double>(weights[i])));
  };
  arena.store_dense();
  if (arena.element_bytes() == sizeof(double))
    change(arena.edit_weights<double>());
  else
    change(arena.edit_weights<float>());
  arena.zero_masked();
}

/// Sets the running statistics of batch norm: a value per element of the state arrays.
inline void set_states(ParameterArena& arena, const std::vector<float>& values) {
  if (arena.element_bytes() == sizeof(double))
    std::ranges::copy(values, arena.edit_state_values<double>().begin());
  else
    std::ranges::copy(values, arena.edit_state_values<float>().begin());
}

/// Calls edit(bytes) with a copy of the mask and makes the result the mask. Weights that are kept
/// now and were not before get their values at the initialisation with `seed`.
template <class Edit>
void change_mask(Network& network, uint64_t seed, const Edit& edit) {
  ParameterArena& arena = network.parameters();
  const SharedPattern before = arena.pattern();
  arena.edit_masks(edit);
  const std::vector<float> initial = network.initial_weights(seed);
  change_weights(arena, [&](const Parameter&, size_t i, double old) {
    return before->bytes()[i] != 0 ? old : static_cast<double>(initial[i]);
  });
}

}  // namespace sculpt
