#pragma once
// Sums over the columns of an implicit GEMM's output, computed while the output is written. If
// columns are channels, these are batch norm's statistics. Each warp sums its rows in float, and
// each block adds its warps in double. The order is fixed.

#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {

/// The destination of sums over the output's columns. partials[first_column + n][block of rows]
/// gets the sum and the sum of squares of the elements that the block wrote. Null if no sums are
/// requested.
struct ColumnSums {
  SumPair* partials;
  int first_column;
};

template <class Work>
__device__ bool wants_column_sums(const Work& work) {
  if constexpr (requires { work.sums; })
    return work.sums.partials != nullptr;
  else
    return false;
}

/// The number of words between rows of the staging buffer. The last 8 words of a row avoid bank
/// conflicts.
template <class Tile>
inline constexpr int kStagePitch = Tile::kWarpN + 8;

/// Column sums of one warp. A lane owns kWidth columns, the same columns as every kLanesPerRow-th
/// lane. It sums the elements, as type T stores them, after subtracting one element of the same
/// column, because otherwise x^2 would swamp the variance. All lanes subtract the same element, so
/// their float sums over a warp's 32 or 64 rows can be added up.
template <class T, int kWidth, int kLanesPerRow>
class WarpColumnSums {
 public:
  __device__ void subtract(const Floats<kWidth>& values) {
    SCULPT_UNROLL
    for (int i = 0; i < kWidth; ++i)
      shift_[i] = stored(values.at[i]);
  }

  __device__ void add(const Floats<kWidth>& values) {
    SCULPT_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      const float centred = stored(values.at[i]) - shift_[i];
      sums_[i] += centred;
      sums_[kWidth + i] = fmaf(centred, centred, sums_[kWidth + i]);
    }
  }

  /// Writes three rows of `stage`: the subtracted elements, the sums, and the sums of squares.
  __device__ void write(float* stage, int pitch, int lane) {
    const int column = lane % kLanesPerRow * kWidth;
    if (lane < kLanesPerRow) {
      SCULPT_UNROLL
      for (int i = 0; i < kWidth; ++i)
        stage[column + i] = shift_[i];
    }
    const int first = add_lanes(lane);
    SCULPT_UNROLL
    for (int i = 0; i < kKept; ++i)
      stage[(1 + (first + i) / kWidth) * pitch + column + (first + i) % kWidth] = sums_[i];
  }

 private:
  static constexpr int kSums = 2 * kWidth;
  static constexpr int kKept = kSums * kLanesPerRow / kWarp;
  static_assert(kKept > 0);

  static __device__ float stored(float value) { return to_float(from_float<T>(value)); }

  /// Adds up the lanes that own the same columns. In each step two lanes share the work: one
  /// continues with the first kCount sums, the other with the rest. Leaves kKept totals in sums_,
  /// and returns the index of the first of them.
  template <int kCount = kSums / 2>
  __device__ int add_lanes(int lane) {
    constexpr int kDistance = kWarp * kCount / kSums;
    const bool upper = (lane & kDistance) != 0;
    SCULPT_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const float kept = upper ? sums_[i + kCount] : sums_[i];
      const float given = upper ? sums_[i] : sums_[i + kCount];
      sums_[i] = kept + __shfl_xor_sync(0xffffffffu, given, kDistance);
    }
    const int first = upper ? kCount : 0;
    if constexpr (kCount > kKept)
      return first + add_lanes<kCount / 2>(lane);
    else
      return first;
  }

  float shift_[kWidth];
  float sums_[kSums] = {};
};

/// Adds up and writes the column sums that the warps of a block have left in the staging buffer.
template <class Tile, class Work>
__device__ void write_column_sums(const float* staging, const Work& work, int block_m,
                                  int block_n) {
  constexpr int kPitch = kStagePitch<Tile>;
  static_assert(Tile::kThreads >= Tile::kBlockN);
  const int column = static_cast<int>(threadIdx.x);
  if (column >= Tile::kBlockN || block_n + column >= work.n) return;
  SumPair total = {};
  for (int warp_m = 0; warp_m < Tile::kBlockM / Tile::kWarpM; ++warp_m) {
    const int rows = min(work.m - block_m - warp_m * Tile::kWarpM, Tile::kWarpM);
    if (rows <= 0) break;
    const int warp = warp_m * Tile::kWarpsN + column / Tile::kWarpN;
    const float* from = staging + warp * 16 * kPitch + column % Tile::kWarpN;
    const double shift = from[0], sum = from[kPitch], squares = from[2 * kPitch];
    total.at[0] += rows * shift + sum;
    total.at[1] += (rows * shift + 2 * sum) * shift + squares;
  }
  const int64_t row_blocks = (work.m + Tile::kBlockM - 1) / Tile::kBlockM;
  const int64_t out_column = work.sums.first_column + block_n + column;
  work.sums.partials[out_column * row_blocks + block_m / Tile::kBlockM] = total;
}

}  // namespace sculpt::kernels::cuda
