// The kernels of kernels/pruning.h as plain loops in double, in the order of the weights.

#include <cmath>

#include "kernels/common/philox.h"
#include "kernels/reference/reference.h"

namespace sculpt::kernels::reference {
namespace {

/// Calls body(i, a) for every prunable weight in order: i is its index among the concatenated
/// weights, and a its index in the arena.
template <class Body>
void for_each_weight(const PrunableRuns& runs, const Body& body) {
  for (int64_t r = 0; r < runs.run_count; ++r)
    for (int64_t j = 0; j < runs.runs[r].count; ++j)
      body(runs.runs[r].first + j, runs.runs[r].offset + j);
}

void magnitude(void* scores, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs,
                  [&](int64_t i, int64_t a) { doubles(scores)[i] = std::fabs(doubles(arena)[a]); });
}

void uniform(double* scores, uint64_t key, int64_t count, void* /*stream*/) {
  for (int64_t i = 0; i < count; ++i)
    scores[i] = philox_uniform53(philox4x32_words(key, static_cast<uint64_t>(i), 0));
}

void gather(double* values, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) { values[i] = doubles(arena)[a]; });
}

void add_scaled(double* sum, double factor, const void* arena, const uint8_t* mask,
                const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    const double product = factor * doubles(arena)[a];
    if (mask[a] != 0) sum[i] += product;
  });
}

void multiply(double* values, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) { values[i] *= doubles(arena)[a]; });
}

void absolute(double* values, int64_t count, void* /*stream*/) {
  for (int64_t i = 0; i < count; ++i)
    values[i] = std::fabs(values[i]);
}

double norm(const double* values, int64_t count, void* /*workspace*/, void* /*stream*/) {
  double squares = 0;
  for (int64_t i = 0; i < count; ++i)
    squares += values[i] * values[i];
  return std::sqrt(squares);
}

int64_t first_not_finite(const double* values, int64_t count, void* /*workspace*/,
                         void* /*stream*/) {
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(values[i])) return i;
  return -1;
}

void move(void* arena, const double* origin, const double* direction, double distance,
          const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    doubles(arena)[a] = distance == 0 ? origin[i] : origin[i] + distance * direction[i];
  });
}

void arena_absolute(void* arena, int64_t count, void* /*stream*/) {
  for (int64_t j = 0; j < count; ++j)
    doubles(arena)[j] = std::fabs(doubles(arena)[j]);
}

void arena_scale(void* arena, double factor, int64_t count, void* /*stream*/) {
  for (int64_t j = 0; j < count; ++j)
    doubles(arena)[j] *= factor;
}

void gather_mask(uint8_t* bytes, const uint8_t* mask, const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) { bytes[i] = mask[a]; });
}

void count(int64_t* counts, const uint8_t* bytes, const PrunableRuns& runs, void* /*stream*/) {
  for (int64_t r = 0; r < runs.run_count; ++r) {
    counts[r] = 0;
    for (int64_t j = 0; j < runs.runs[r].count; ++j)
      if (bytes[runs.runs[r].first + j] != 0) ++counts[r];
  }
}

void apply_mask(uint8_t* mask, void* weight, void* momentum, const uint8_t* bytes,
                const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    mask[a] = bytes[i];
    if (bytes[i] == 0) doubles(weight)[a] = doubles(momentum)[a] = 0.0;
  });
}

}  // namespace

PruningKernels pruning_kernels() {
  return {.magnitude = magnitude,
          .uniform = uniform,
          .gather = gather,
          .add_scaled = add_scaled,
          .multiply = multiply,
          .absolute = absolute,
          .norm = norm,
          .first_not_finite = first_not_finite,
          .workspace_bytes = [] { return size_t{0}; },
          .move = move,
          .arena_absolute = arena_absolute,
          .arena_scale = arena_scale,
          .gather_mask = gather_mask,
          .count = count,
          .apply_mask = apply_mask};
}

}  // namespace sculpt::kernels::reference
