// Scores and masks of pruning (kernels/pruning.h). Each kernel is one launch and one pass, bound by
// memory bandwidth; norm and first_not_finite also read a number back.
//
// A block takes a tile of the concatenated weights and walks through the runs in it. The position
// in the arena is thus looked up once per tile, and all accesses are coalesced. Additions and
// products are rounded one by one, as on the host, so a score has the same bits as on the host if
// its inputs have.

#include <cstring>

#include "kernels/common/philox.h"
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/read_back.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

using Count = unsigned long long;

constexpr int kThreads = 256;
constexpr int64_t kTile = kThreads * 8;
constexpr int kSumBlocks = 512;
constexpr Count kNone = ~Count{0};
constexpr double kLargest = 0x1.fffffffffffffp1023;  // the largest finite number

dim3 tiles_of(int64_t count) {
  return dim3(static_cast<unsigned>(ceil_div(count, kTile)));
}

/// Returns the run that contains element i of the concatenated weights.
__device__ int run_of(const PrunableRuns& runs, int64_t i) {
  int low = 0, high = static_cast<int>(runs.run_count);
  while (low < high) {
    const int middle = (low + high) / 2;
    if (runs.runs[middle].first <= i)
      low = middle + 1;
    else
      high = middle;
  }
  return low - 1;
}

/// Calls body(run, begin, end) for each stretch of the block's tile that lies in one run, in order.
template <class Body>
__device__ void for_each_stretch(const PrunableRuns& runs, const Body& body) {
  int64_t begin = blockIdx.x * kTile;
  const int64_t end = min(begin + kTile, runs.count);
  for (int run = run_of(runs, begin); begin < end; ++run) {
    const int64_t stop = min(end, runs.runs[run].first + runs.runs[run].count);
    body(run, begin, stop);
    begin = stop;
  }
}

/// Calls body(i, a) for the thread's weights, where i is the index among the concatenated weights
/// and a the index in the arena.
template <class Body>
__device__ void for_each_weight(const PrunableRuns& runs, const Body& body) {
  for_each_stretch(runs, [&](int run, int64_t begin, int64_t end) {
    const int64_t shift = runs.runs[run].offset - runs.runs[run].first;
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads)
      body(i, i + shift);
  });
}

/// Calls body(i) for the thread's elements of an array.
template <class Body>
__device__ void for_each(int64_t count, const Body& body) {
  const int64_t begin = blockIdx.x * kTile;
  const int64_t end = min(begin + kTile, count);
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads)
    body(i);
}

__global__ void __launch_bounds__(kThreads)
    magnitude_kernel(float* scores, const float* arena, PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) { scores[i] = fabsf(arena[a]); });
}

__global__ void __launch_bounds__(kThreads)
    uniform_kernel(double* scores, uint64_t key, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t i) {
    scores[i] = philox_uniform53(philox4x32_words(key, static_cast<uint64_t>(i), 0));
  });
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(double* values, const float* arena, PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) { values[i] = static_cast<double>(arena[a]); });
}

__global__ void __launch_bounds__(kThreads)
    add_scaled_kernel(double* sum, double factor, const float* arena, const uint8_t* mask,
                      PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    if (mask[a] != 0) sum[i] = __dadd_rn(sum[i], __dmul_rn(factor, static_cast<double>(arena[a])));
  });
}

__global__ void __launch_bounds__(kThreads)
    multiply_kernel(double* values, const float* arena, PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) { values[i] *= static_cast<double>(arena[a]); });
}

__global__ void __launch_bounds__(kThreads) absolute_kernel(double* values, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t i) { values[i] = fabs(values[i]); });
}

__global__ void __launch_bounds__(kThreads)
    move_kernel(float* arena, const double* origin, const double* direction, double distance,
                PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    const double moved =
        distance == 0 ? origin[i] : __dadd_rn(origin[i], __dmul_rn(distance, direction[i]));
    arena[a] = static_cast<float>(moved);
  });
}

__global__ void __launch_bounds__(kThreads) arena_absolute_kernel(float* arena, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t j) { arena[j] = fabsf(arena[j]); });
}

__global__ void __launch_bounds__(kThreads)
    arena_scale_kernel(float* arena, double factor, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t j) {
    arena[j] = static_cast<float>(static_cast<double>(arena[j]) * factor);
  });
}

__global__ void __launch_bounds__(kThreads)
    gather_mask_kernel(uint8_t* bytes, const uint8_t* mask, PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) { bytes[i] = mask[a]; });
}

/// Adds to counts, which must be zero at first. Counts are integers, so the order of blocks does
/// not matter.
__global__ void __launch_bounds__(kThreads)
    count_kernel(Count* counts, const uint8_t* bytes, PrunableRuns runs) {
  follow_previous_kernels();
  for_each_stretch(runs, [&](int run, int64_t begin, int64_t end) {
    int found = 0;
    for (int64_t base = begin; base < end; base += kThreads) {
      const int64_t i = base + threadIdx.x;
      found += __syncthreads_count(i < end && bytes[i] != 0);
    }
    if (threadIdx.x == 0 && found != 0) atomicAdd(&counts[run], static_cast<Count>(found));
  });
}

__global__ void __launch_bounds__(kThreads)
    apply_mask_kernel(uint8_t* mask, float* weight, float* momentum, const uint8_t* bytes,
                      PrunableRuns runs) {
  follow_previous_kernels();
  for_each_weight(runs, [&](int64_t i, int64_t a) {
    const uint8_t kept = bytes[i];
    mask[a] = kept;
    if (kept == 0) weight[a] = momentum[a] = 0.0f;
  });
}

__global__ void __launch_bounds__(kThreads)
    score_squares_kernel(double* partial, const double* values, int64_t count) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += int64_t{kSumBlocks} * kThreads)
    sum += values[i] * values[i];
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kThreads)
    score_norm_kernel(double* result, const double* partial) {
  follow_previous_kernels();
  __shared__ double shared[kThreads / kWarp];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kSumBlocks; i += kThreads)
    sum += partial[i];
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) *result = sqrt(total);
}

/// *first must be kNone at first.
__global__ void __launch_bounds__(kThreads)
    not_finite_kernel(Count* first, const double* values, int64_t count) {
  follow_previous_kernels();
  for_each(count, [&](int64_t i) {
    if (!(fabs(values[i]) <= kLargest)) atomicMin(first, static_cast<Count>(i));
  });
}

void magnitude(void* scores, const void* arena, const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(magnitude_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream,
                static_cast<float*>(scores), static_cast<const float*>(arena), runs);
}

void uniform(double* scores, uint64_t key, int64_t count, void* stream) {
  SCULPT_LAUNCH(uniform_kernel, tiles_of(count), dim3(kThreads), 0, stream, scores, key, count);
}

void gather(double* values, const void* arena, const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(gather_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream, values,
                static_cast<const float*>(arena), runs);
}

void add_scaled(double* sum, double factor, const void* arena, const uint8_t* mask,
                const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(add_scaled_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream, sum, factor,
                static_cast<const float*>(arena), mask, runs);
}

void multiply(double* values, const void* arena, const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(multiply_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream, values,
                static_cast<const float*>(arena), runs);
}

void absolute(double* values, int64_t count, void* stream) {
  SCULPT_LAUNCH(absolute_kernel, tiles_of(count), dim3(kThreads), 0, stream, values, count);
}

double norm(const double* values, int64_t count, void* workspace, void* stream) {
  auto* partial = static_cast<double*>(workspace);
  double* result = partial + kSumBlocks;
  SCULPT_LAUNCH(score_squares_kernel, dim3(kSumBlocks), dim3(kThreads), 0, stream, partial, values,
                count);
  SCULPT_LAUNCH(score_norm_kernel, dim3(1), dim3(kThreads), 0, stream, result, partial);
  return read_back(result, "reading the norm of scores");
}

int64_t first_not_finite(const double* values, int64_t count, void* workspace, void* stream) {
  auto* first = static_cast<Count*>(workspace);
  set_bytes(first, 0xff, sizeof(*first), "looking at scores");
  SCULPT_LAUNCH(not_finite_kernel, tiles_of(count), dim3(kThreads), 0, stream, first, values,
                count);
  const Count found = read_back(first, "looking at scores");
  return found == kNone ? -1 : static_cast<int64_t>(found);
}

size_t workspace_bytes() {
  return (kSumBlocks + 1) * sizeof(double);
}

void move(void* arena, const double* origin, const double* direction, double distance,
          const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(move_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream,
                static_cast<float*>(arena), origin, direction, distance, runs);
}

void arena_absolute(void* arena, int64_t count, void* stream) {
  SCULPT_LAUNCH(arena_absolute_kernel, tiles_of(count), dim3(kThreads), 0, stream,
                static_cast<float*>(arena), count);
}

void arena_scale(void* arena, double factor, int64_t count, void* stream) {
  SCULPT_LAUNCH(arena_scale_kernel, tiles_of(count), dim3(kThreads), 0, stream,
                static_cast<float*>(arena), factor, count);
}

void gather_mask(uint8_t* bytes, const uint8_t* mask, const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(gather_mask_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream, bytes, mask,
                runs);
}

void count(int64_t* counts, const uint8_t* bytes, const PrunableRuns& runs, void* stream) {
  set_bytes(counts, 0, static_cast<size_t>(runs.run_count) * sizeof(*counts), "counting weights");
  SCULPT_LAUNCH(count_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream,
                reinterpret_cast<Count*>(counts), bytes, runs);
}

void apply_mask(uint8_t* mask, void* weight, void* momentum, const uint8_t* bytes,
                const PrunableRuns& runs, void* stream) {
  SCULPT_LAUNCH(apply_mask_kernel, tiles_of(runs.count), dim3(kThreads), 0, stream, mask,
                static_cast<float*>(weight), static_cast<float*>(momentum), bytes, runs);
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
          .workspace_bytes = workspace_bytes,
          .move = move,
          .arena_absolute = arena_absolute,
          .arena_scale = arena_scale,
          .gather_mask = gather_mask,
          .count = count,
          .apply_mask = apply_mask};
}

}  // namespace sculpt::kernels::cuda
