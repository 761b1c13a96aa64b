#include "kernels/host/pruning.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace sculpt::kernels {
namespace {

/// Calls body(i, a) for every prunable weight, in parallel. i is the weight's index among the
/// concatenated weights and a its index in the arena.
template <class Body>
void for_each_weight(const PrunableRuns& runs, const Body& body) {
  parallel_for(runs.count, [&](int64_t begin, int64_t end, int) {
    const auto starts_behind = [](int64_t i, const PrunableRun& run) { return i < run.first; };
    const PrunableRun* run =
        std::upper_bound(runs.runs, runs.runs + runs.run_count, begin, starts_behind) - 1;
    for (int64_t i = begin; i < end; ++run) {
      const int64_t stop = std::min(end, run->first + run->count);
      const int64_t shift = run->offset - run->first;
      for (; i < stop; ++i)
        body(i, i + shift);
    }
  });
}

template <class Body>
void for_each(int64_t count, const Body& body) {
  parallel_for(count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      body(i);
  });
}

void magnitude(void* scores, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  auto* to = static_cast<float*>(scores);
  const auto* from = static_cast<const float*>(arena);
  for_each_weight(runs, [=](int64_t i, int64_t a) { to[i] = std::abs(from[a]); });
}

void uniform(double* scores, uint64_t key, int64_t count, void* /*stream*/) {
  for_each(count, [=](int64_t i) {
    const PhiloxWords words = philox4x32_words(key, static_cast<uint64_t>(i), 0);
    scores[i] = philox_uniform53(words);
  });
}

void gather(double* values, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  const auto* from = static_cast<const float*>(arena);
  for_each_weight(runs, [=](int64_t i, int64_t a) { values[i] = static_cast<double>(from[a]); });
}

void add_scaled(double* sum, double factor, const void* arena, const uint8_t* mask,
                const PrunableRuns& runs, void* /*stream*/) {
  const auto* from = static_cast<const float*>(arena);
  for_each_weight(runs, [=](int64_t i, int64_t a) {
    if (mask[a] != 0) sum[i] += factor * static_cast<double>(from[a]);
  });
}

void multiply(double* values, const void* arena, const PrunableRuns& runs, void* /*stream*/) {
  const auto* from = static_cast<const float*>(arena);
  for_each_weight(runs, [=](int64_t i, int64_t a) { values[i] *= static_cast<double>(from[a]); });
}

void absolute(double* values, int64_t count, void* /*stream*/) {
  for_each(count, [=](int64_t i) { values[i] = std::abs(values[i]); });
}

double norm(const double* values, int64_t count, void* /*workspace*/, void* /*stream*/) {
  return std::sqrt(std::inner_product(values, values + count, values, 0.0));
}

int64_t first_not_finite(const double* values, int64_t count, void* /*workspace*/,
                         void* /*stream*/) {
  const auto is_finite = [](double value) { return std::isfinite(value); };
  const double* found = std::find_if_not(values, values + count, is_finite);
  return found == values + count ? -1 : found - values;
}

void move(void* arena, const double* origin, const double* direction, double distance,
          const PrunableRuns& runs, void* /*stream*/) {
  auto* to = static_cast<float*>(arena);
  for_each_weight(runs, [=](int64_t i, int64_t a) {
    to[a] = static_cast<float>(distance == 0 ? origin[i] : origin[i] + distance * direction[i]);
  });
}

void arena_absolute(void* arena, int64_t count, void* /*stream*/) {
  auto* values = static_cast<float*>(arena);
  for_each(count, [=](int64_t j) { values[j] = std::abs(values[j]); });
}

void arena_scale(void* arena, double factor, int64_t count, void* /*stream*/) {
  auto* values = static_cast<float*>(arena);
  for_each(count, [=](int64_t j) {
    values[j] = static_cast<float>(static_cast<double>(values[j]) * factor);
  });
}

void gather_mask(uint8_t* bytes, const uint8_t* mask, const PrunableRuns& runs, void* /*stream*/) {
  for_each_weight(runs, [=](int64_t i, int64_t a) { bytes[i] = mask[a]; });
}

void count(int64_t* counts, const uint8_t* bytes, const PrunableRuns& runs, void* /*stream*/) {
  for_each(runs.run_count, [=](int64_t r) {
    const uint8_t* first = bytes + runs.runs[r].first;
    const int64_t length = runs.runs[r].count;
    counts[r] = length - std::count(first, first + length, uint8_t{0});
  });
}

void apply_mask(uint8_t* mask, void* weight, void* momentum, const uint8_t* bytes,
                const PrunableRuns& runs, void* /*stream*/) {
  auto* w = static_cast<float*>(weight);
  auto* m = static_cast<float*>(momentum);
  for_each_weight(runs, [=](int64_t i, int64_t a) {
    mask[a] = bytes[i];
    if (bytes[i] == 0) w[a] = m[a] = float{0};
  });
}

}  // namespace

PruningKernels host_pruning_kernels() {
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

}  // namespace sculpt::kernels
