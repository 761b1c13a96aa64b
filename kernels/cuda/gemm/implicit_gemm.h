#pragma once
// out[m][n] (=, +=) sum_k a(m, k) b(k, n) + bias[n], where the operands are matrices that exist
// only as address functions: the windows of a convolution are gathered while they are copied to
// shared memory. A pass, which is a parameter of the kernel, defines a, b and out (GemmPass); a and
// b are operands (GemmOperand). What the compiler cannot check of an operand:
//
// - Neighbouring columns are contiguous in memory.
// - row() and column() take any index; a row or column outside the matrix is never valid.
// - kVectors promises that the 16 bytes at a column that is a multiple of kVector are aligned, and
//   either all valid or all invalid. Invalid addresses must be aligned, too, because PTX requires
//   this of every cp.async. Choosing another address for invalid copies would cost two instructions
//   per copy, which are 21 of the 148 instructions in the loop of the largest tile.
//
// Work per block and k step: kBlockM * kBlockN * kDepth multiply-adds for (kBlockM + kBlockN) *
// kDepth elements copied; out is written once, in 16-byte words where its columns allow.

#include <concepts>
#include <cstdint>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/gemm/math.h"
#include "kernels/cuda/gemm/sums.h"
#include "kernels/cuda/nhwc.h"

namespace sculpt::kernels::cuda {

/// A matrix that exists as an address function. `data` points at elements of type T; a Row and a
/// Column hold what is computed once per row and column of a tile.
template <class M, class T>
concept GemmOperand = requires(const M matrix, typename M::Row row, typename M::Column column,
                               int index) {
  { matrix.data } -> std::convertible_to<const T*>;
  { matrix.row(index) } -> std::same_as<typename M::Row>;
  { matrix.column(index) } -> std::same_as<typename M::Column>;
  { matrix.valid(row, column) } -> std::same_as<bool>;
  { matrix.offset(row, column) } -> std::same_as<int64_t>;
};

/// An operand whose row() is costly: each lane of a warp finds one row, and from_lane() fetches the
/// row that a lane has found, by shuffles.
template <class M>
concept SharesRows = requires(typename M::Row row, int lane) {
  { M::from_lane(row, lane) } -> std::same_as<typename M::Row>;
};

/// One GEMM: out[m][n] for the k in [k_begin, k_end). k_begin is a multiple of kDepth, and so is
/// k_end, except in the last one of the GEMMs that share out k. A work may also have `sums`
/// (ColumnSums); it can then be asked for the sums of out's columns.
template <class W, class T>
concept GemmWork = GemmOperand<decltype(W::a), T> && GemmOperand<decltype(W::b), T> &&
    requires(const W work) {
  { work.m } -> std::convertible_to<int>;
  { work.n } -> std::convertible_to<int>;
  { work.k_begin } -> std::convertible_to<int>;
  { work.k_end } -> std::convertible_to<int>;
  typename decltype(W::out)::T;
};

/// A kernel's parameter: the GEMMs of one launch. work(z) is the GEMM of blockIdx.z. kAAlongK and
/// kBAlongK say which way an operand is contiguous in memory: along k, or along m (b: along n).
template <class P, class T>
concept GemmPass = requires(const P pass, int z) {
  { P::kAAlongK } -> std::convertible_to<bool>;
  { P::kBAlongK } -> std::convertible_to<bool>;
  { pass.work(z) } -> GemmWork<T>;
};

/// A block computes kBlockM x kBlockN elements, and each of its warps kWarpM x kWarpN elements.
template <int kBlockM_, int kBlockN_, int kWarpM_, int kWarpN_, int kStages_ = 3>
struct GemmTile {
  static constexpr int kBlockM = kBlockM_;
  static constexpr int kBlockN = kBlockN_;
  static constexpr int kWarpM = kWarpM_;
  static constexpr int kWarpN = kWarpN_;
  static constexpr int kWarpsN = kBlockN / kWarpN;
  static constexpr int kThreads = kBlockM / kWarpM * kWarpsN * kWarp;
  static constexpr int kStages = kStages_;  ///< k tiles in shared memory
};

/// The number of k values in a k tile.
template <class T>
inline constexpr int kDepth = 2 * kStep<T>;

/// Copies the tiles of one operand that this block needs, one k tile after the other.
template <class OperandTile, GemmOperand<typename OperandTile::Element> Matrix, int kThreads,
          bool kVectors>
class TileLoader {
  using T = typename OperandTile::Element;
  static constexpr int kWidth = kVectors ? kVector<T> : 1;
  static constexpr int kThreadsPerRow = OperandTile::kColumns / kWidth;
  static constexpr int kRowStep = kThreads / kThreadsPerRow;
  static constexpr int kCopies = (OperandTile::kRows + kRowStep - 1) / kRowStep;
  static_assert(kThreads % kThreadsPerRow == 0);
  // Values that do not change from k tile to k tile stay in registers, if there are few of them.
  static constexpr bool kFew = kCopies <= 8;
  static constexpr bool kKeepRows = OperandTile::kAlongK && kFew;
  // Some rows are costly to find and change with k. Then each lane finds one row, and the whole
  // warp shares the results.
  static constexpr bool kShareRows = !OperandTile::kAlongK && SharesRows<Matrix>;
  static_assert(OperandTile::kAlongK || kWarp % OperandTile::kRows == 0);

 public:
  /// `first` is the block's first m (for operand a) or first n (for operand b).
  __device__ TileLoader(const Matrix& matrix, int first)
      : matrix_(matrix),
        first_(first),
        tile_row_(static_cast<int>(threadIdx.x) / kThreadsPerRow),
        tile_column_(static_cast<int>(threadIdx.x) % kThreadsPerRow * kWidth) {
    if constexpr (kKeepRows) {
      SCULPT_UNROLL
      for (int i = 0; i < kCopies; ++i)
        rows_[i] = matrix.row(first + tile_row_ + i * kRowStep);
    }
    if constexpr (!OperandTile::kAlongK) column_ = matrix.column(first + tile_column_);
  }

  __device__ void load(const OperandTile& tile, int k) {
    if constexpr (OperandTile::kAlongK) column_ = matrix_.column(k + tile_column_);
    typename Matrix::Row row_of_lane;
    if constexpr (kShareRows)
      row_of_lane = matrix_.row(k + static_cast<int>(threadIdx.x) % OperandTile::kRows);
    SCULPT_UNROLL_BY(kFew ? kCopies : 4)
    for (int i = 0; i < kCopies; ++i) {
      const int row = tile_row_ + i * kRowStep;
      typename Matrix::Row place;
      if constexpr (kShareRows)
        place = matrix_.from_lane(row_of_lane, row);
      else if constexpr (kKeepRows)
        place = rows_[i];
      else
        place = matrix_.row((OperandTile::kAlongK ? first_ : k) + row);
      if (OperandTile::kRows % kRowStep == 0 || row < OperandTile::kRows) copy(tile, row, place);
    }
  }

 private:
  __device__ void copy(const OperandTile& tile, int tile_row, const typename Matrix::Row& row) {
    const bool valid = matrix_.valid(row, column_);
    const T* from = matrix_.data + matrix_.offset(row, column_);
    T* to = tile.vector(tile_row, tile_column_ / kVector<T>);
    if constexpr (kVectors)
      cp_async_16(to, from, valid);
    else
      to[tile_column_ % kVector<T>] = valid ? *from : T{};
  }

  const Matrix& matrix_;
  int first_;
  int tile_row_;
  int tile_column_;
  typename Matrix::Column column_;
  typename Matrix::Row rows_[kKeepRows ? kCopies : 1];
};

/// The destination of a GEMM's sums. Rows::operator()(m) returns the offset of row m.
template <class T_, class Rows>
struct GemmOutput {
  using T = T_;
  T* data;
  Rows row_offset;
  const float* bias;  ///< [columns] or null
  bool accumulate;
  bool vectors;  ///< whether columns may be written in 16-byte words

  template <int N>
  __device__ void write(int m, int column, int columns, const Floats<N>& values) const {
    T* to = data + row_offset(m) + column;
    if (vectors) {
      if (column < columns) write_floats(to, values, accumulate);
    } else {
      for (int i = 0; i < N; ++i)
        if (column + i < columns) write_floats(to + i, Floats<1>{{values.at[i]}}, accumulate);
    }
  }
};

/// Rows with a constant distance of `pitch` elements.
struct PlainRows {
  int64_t pitch;
  __device__ int64_t operator()(int m) const { return m * pitch; }
};

/// Writes the sums of one warp, whose first element is (m, n). acc[i][j] is the 16 x 8 block at (16
/// i, 8 j), spread over the lanes as gemm/math.h describes. The sums pass through shared memory,
/// 16 rows at a time, so that each lane ends up with neighbouring columns, which are the same in
/// all of its rows. If column sums are requested, they are in the first rows of `stage` afterwards.
template <class Tile, class Work, int kM, int kN>
__device__ __forceinline__ void write_sums(const float (&acc)[kM][kN][4], float* stage,
                                           const Work& work, int m, int n, int lane) {
  using T = typename decltype(work.out)::T;
  constexpr int kPitch = kStagePitch<Tile>;
  constexpr int kWidth = kVector<T>;
  constexpr int kLanesPerRow = Tile::kWarpN / kWidth;
  const int column = n + lane % kLanesPerRow * kWidth;
  const bool with_sums = wants_column_sums(work);
  WarpColumnSums<T, kWidth, kLanesPerRow> sums;
  Floats<kWidth> bias = {};
  if (work.out.bias != nullptr) {
    SCULPT_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (column + i < work.n) bias.at[i] = work.out.bias[column + i];
  }
  SCULPT_UNROLL
  for (int i = 0; i < kM; ++i) {
    SCULPT_UNROLL
    for (int j = 0; j < kN; ++j)
      SCULPT_UNROLL
    for (int half = 0; half < 2; ++half)
      store_pack(stage + (lane / 4 + 8 * half) * kPitch + 8 * j + lane % 4 * 2,
                 Pack<float, 2>{{acc[i][j][2 * half], acc[i][j][2 * half + 1]}});
    __syncwarp();
    const auto staged = [&](int row) {
      const float* from = stage + row * kPitch + column - n;
      Floats<kWidth> values;
      SCULPT_UNROLL
      for (int v = 0; v < kWidth; v += 4) {
        const Pack<float, 4> four = load_pack<4>(from + v);
        SCULPT_UNROLL
        for (int e = 0; e < 4; ++e)
          values.at[v + e] = four.at[e] + bias.at[v + e];
      }
      return values;
    };
    if (with_sums && i == 0) sums.subtract(staged(0));
    SCULPT_UNROLL
    for (int row = lane / kLanesPerRow; row < 16; row += kWarp / kLanesPerRow) {
      const Floats<kWidth> values = staged(row);
      if (m + 16 * i + row >= work.m) continue;
      work.out.write(m + 16 * i + row, column, work.n, values);
      if (with_sums) sums.add(values);
    }
    __syncwarp();
  }
  if (with_sums) sums.write(stage, kPitch, lane);
}

template <class Math, class Tile, bool kVectors, GemmPass<typename Math::Element> Pass>
__global__ void __launch_bounds__(Tile::kThreads) implicit_gemm(const Pass pass) {
  follow_previous_kernels();
  using T = typename Math::Element;
  using TileA = OperandTile<T, Pass::kAAlongK, Tile::kBlockM, kDepth<T>>;
  using TileB = OperandTile<T, Pass::kBAlongK, Tile::kBlockN, kDepth<T>>;
  const auto work = pass.work(static_cast<int>(blockIdx.z));
  // Neighbouring blocks share rows of a, which is the larger operand.
  const int tiles_n = (work.n + Tile::kBlockN - 1) / Tile::kBlockN;
  const int block_m = static_cast<int>(blockIdx.x) / tiles_n * Tile::kBlockM;
  const int block_n = static_cast<int>(blockIdx.x) % tiles_n * Tile::kBlockN;
  if (block_m >= work.m) return;

  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  auto tile_a = [&](int stage) {
    return TileA{reinterpret_cast<T*>(shared + stage * (TileA::kBytes + TileB::kBytes))};
  };
  auto tile_b = [&](int stage) {
    return TileB{
        reinterpret_cast<T*>(shared + stage * (TileA::kBytes + TileB::kBytes) + TileA::kBytes)};
  };
  TileLoader<TileA, decltype(work.a), Tile::kThreads, kVectors> loader_a(work.a, block_m);
  TileLoader<TileB, decltype(work.b), Tile::kThreads, kVectors> loader_b(work.b, block_n);
  auto load = [&](int stage, int k) {
    if (k < work.k_end) {
      loader_a.load(tile_a(stage), k);
      loader_b.load(tile_b(stage), k);
    }
    cp_async_commit();  // an empty group at the end keeps the count of pending groups right
  };

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWarpM;
  const int warp_n = warp % Tile::kWarpsN * Tile::kWarpN;
  float acc[Tile::kWarpM / 16][Tile::kWarpN / 8][4] = {};

  constexpr int kAhead = Tile::kStages - 1;
  SCULPT_UNROLL_BY(1)
  for (int stage = 0; stage < kAhead; ++stage)
    load(stage, work.k_begin + stage * kDepth<T>);
  int stage = 0;
  for (int k = work.k_begin; k < work.k_end; k += kDepth<T>) {
    cp_async_wait<kAhead - 1>();
    __syncthreads();  // all threads see this stage and have left the one before
    load(stage == 0 ? kAhead : stage - 1, k + kAhead * kDepth<T>);
    SCULPT_UNROLL
    for (int step = 0; step < kDepth<T>; step += kStep<T>)
      Math::multiply(acc, tile_a(stage), tile_b(stage), warp_m, warp_n, step, lane);
    stage = stage == kAhead ? 0 : stage + 1;
  }
  cp_async_wait<0>();
  __syncthreads();  // the memory of the tiles is reused as a staging buffer for the sums
  float* staging = reinterpret_cast<float*>(shared);
  write_sums<Tile>(acc, staging + warp * 16 * kStagePitch<Tile>, work, block_m + warp_m,
                   block_n + warp_n, lane);
  if constexpr (requires { work.sums; }) {
    if (!wants_column_sums(work)) return;
    __syncthreads();
    write_column_sums<Tile>(staging, work, block_m, block_n);
  }
}

/// Launches pass.work(z) for all z < `count`. No GEMM may have more than m x n elements.
template <class Math, class Tile, bool kVectors, GemmPass<typename Math::Element> Pass>
void launch_implicit_gemm(const Pass& pass, int64_t m, int64_t n, int64_t count, void* stream) {
  constexpr int kTileBytes = (Tile::kBlockM + Tile::kBlockN) * kDepth<typename Math::Element> *
                             static_cast<int>(sizeof(typename Math::Element));
  constexpr int kStagingBytes = Tile::kThreads / kWarp * 16 * kStagePitch<Tile> * 4;
  constexpr int kTilesBytes = Tile::kStages * kTileBytes;
  constexpr size_t kSharedBytes = kTilesBytes > kStagingBytes ? kTilesBytes : kStagingBytes;
  const int64_t tiles = ceil_div(m, Tile::kBlockM) * ceil_div(n, Tile::kBlockN);
  const dim3 grid(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(count));
  SCULPT_LAUNCH((implicit_gemm<Math, Tile, kVectors, Pass>), grid, dim3(Tile::kThreads),
                kSharedBytes, stream, pass);
}

}  // namespace sculpt::kernels::cuda
