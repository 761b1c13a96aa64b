#pragma once
// What pruning does to the prunable weights besides ranking them: scores, the way to and from the
// arena, masks.
//
// Scores and candidates are over the prunable weights put one after another in global-index order;
// the arena has other parameters in between. A table of runs says where each lies. "Arena" arrays
// have elements of Backend::parameter_bytes; concatenated ones are double, if nothing else is said:
// scores are products and sums that float would round, and the smallest ones underflow.
//
// All are one pass over the weights (norm and first_not_finite, too), bound by memory bandwidth.
// Deterministic. Everything pointed to lies in the backend's memory.

#include <cstddef>
#include <cstdint>

namespace sculpt::kernels {

/// A prunable parameter: elements [offset, offset + count) of the arena, [first, first + count) of
/// the concatenated weights.
struct PrunableRun {
  int64_t offset = 0;
  int64_t first = 0;
  int64_t count = 0;
};

/// In the order of both. `runs` lies in the backend's memory.
struct PrunableRuns {
  const PrunableRun* runs = nullptr;
  int64_t run_count = 0;
  int64_t count = 0;  ///< weights of all runs
};

struct PruningKernels {
  // Scores. i runs over the concatenated weights, a is where weight i lies in the arena.

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
  /// Of norm and first_not_finite.
  size_t (*workspace_bytes)();

  // Weights.

  /// arena[a] := origin[i] + distance * direction[i]; for distance 0 the origin itself.
  void (*move)(void* arena, const double* origin, const double* direction, double distance,
               const PrunableRuns& runs, void* stream);
  /// arena[j] := abs(arena[j]), and arena[j] *= factor, for all j in [0, count).
  void (*arena_absolute)(void* arena, int64_t count, void* stream);
  void (*arena_scale)(void* arena, double factor, int64_t count, void* stream);

  // Masks: a byte per weight, 0 or 1.

  /// bytes[i] := mask[a].
  void (*gather_mask)(uint8_t* bytes, const uint8_t* mask, const PrunableRuns& runs, void* stream);
  /// counts[r] := number of bytes of run r that are not 0.
  void (*count)(int64_t* counts, const uint8_t* bytes, const PrunableRuns& runs, void* stream);
  /// mask[a] := bytes[i]; weight[a] = momentum[a] = +0 where that is 0.
  void (*apply_mask)(uint8_t* mask, void* weight, void* momentum, const uint8_t* bytes,
                     const PrunableRuns& runs, void* stream);
};

}  // namespace sculpt::kernels
