#pragma once
// The kernels of pruning besides ranking. They compute scores of the prunable weights, gather
// values from the arena and write them back, and apply masks.
//
// Scores and candidates are indexed by the concatenated prunable weights, in global-index order. In
// the arena, other parameters lie between them; a table of runs gives the position of each prunable
// parameter. "Arena" arrays have elements of Backend::parameter_bytes. Concatenated arrays are
// double unless stated otherwise, because scores are products and sums that float would round, and
// the smallest of them underflow.
//
// Each kernel is one pass over the weights (norm and first_not_finite, too), bound by memory
// bandwidth. All kernels are deterministic. All pointers point into the backend's memory.

#include <cstddef>
#include <cstdint>

namespace sculpt::kernels {

/// A prunable parameter. It occupies elements [offset, offset + count) of the arena and elements
/// [first, first + count) of the concatenated weights.
struct PrunableRun {
  int64_t offset = 0;
  int64_t first = 0;
  int64_t count = 0;
};

/// The runs, in ascending order of `offset` and of `first`. `runs` lies in the backend's memory.
struct PrunableRuns {
  const PrunableRun* runs = nullptr;
  int64_t run_count = 0;
  int64_t count = 0;  ///< weights of all runs together
};

struct PruningKernels {
  // Scores. Index i runs over the concatenated weights; a is the arena index of weight i.

  /// scores[i] := abs(arena[a]), in the arena's type.
  void (*magnitude)(void* scores, const void* arena, const PrunableRuns& runs, void* stream);
  /// scores[i] := uniform in [0, 1) with 53 random bits, Philox(key, counter = i).
  void (*uniform)(double* scores, uint64_t key, int64_t count, void* stream);
  /// values[i] := arena[a].
  void (*gather)(double* values, const void* arena, const PrunableRuns& runs, void* stream);
  /// sum[i] += factor * arena[a] where mask[a] is not 0; rounded twice on every backend.
  void (*add_scaled)(double* sum, double factor, const void* arena, const uint8_t* mask,
                     const PrunableRuns& runs, void* stream);
  /// values[i] *= arena[a].
  void (*multiply)(double* values, const void* arena, const PrunableRuns& runs, void* stream);
  /// values[i] := abs(values[i]).
  void (*absolute)(double* values, int64_t count, void* stream);
  /// The L2 norm, summed in a fixed order.
  double (*norm)(const double* values, int64_t count, void* workspace, void* stream);
  /// Index of the first infinity or NaN; -1 if there is none.
  int64_t (*first_not_finite)(const double* values, int64_t count, void* workspace, void* stream);
  /// The workspace size of norm and first_not_finite.
  size_t (*workspace_bytes)();

  // Weights.

  /// arena[a] := origin[i] + distance * direction[i]; for distance 0 the origin itself.
  void (*move)(void* arena, const double* origin, const double* direction, double distance,
               const PrunableRuns& runs, void* stream);
  /// arena_absolute: arena[j] := abs(arena[j]). arena_scale: arena[j] *= factor. Both run over all
  /// j in [0, count).
  void (*arena_absolute)(void* arena, int64_t count, void* stream);
  void (*arena_scale)(void* arena, double factor, int64_t count, void* stream);

  // Masks: a byte per weight, 0 or 1.

  /// bytes[i] := mask[a].
  void (*gather_mask)(uint8_t* bytes, const uint8_t* mask, const PrunableRuns& runs, void* stream);
  /// counts[r] := number of bytes of run r that are not 0.
  void (*count)(int64_t* counts, const uint8_t* bytes, const PrunableRuns& runs, void* stream);
  /// mask[a] := bytes[i]; where bytes[i] is 0, weight[a] = momentum[a] = +0.
  void (*apply_mask)(uint8_t* mask, void* weight, void* momentum, const uint8_t* bytes,
                     const PrunableRuns& runs, void* stream);
};

}  // namespace sculpt::kernels
