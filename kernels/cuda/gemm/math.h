#pragma once
// Multiplies two shared-memory tiles in a warp: with tensor cores in bf16 or tf32, or with plain
// float multiply-adds. In all three cases, sums are float and are distributed as mma.sync leaves
// them: of each 16 x 8 block, lane 4 g + t holds rows g and g + 8 of columns 2 t and 2 t + 1.

#include "kernels/cuda/element.h"
#include "kernels/cuda/ptx.h"

namespace sculpt::kernels::cuda {

/// The k extent of one mma, which is two 16-byte vectors. The depth of a tile is a multiple of it.
template <class T>
inline constexpr int kStep = 2 * kVector<T>;

/// A kMn x kK tile of an operand in shared memory. Rows lie along k if kAlongK is true, and along m
/// (or n) otherwise. The 16-byte vectors of a row are permuted so that the reads below cause no
/// bank conflicts.
template <class T, bool kAlongK_, int kMn, int kK>
struct OperandTile {
  using Element = T;
  static constexpr bool kAlongK = kAlongK_;
  static constexpr int kRows = kAlongK ? kMn : kK;
  static constexpr int kColumns = kAlongK ? kK : kMn;
  static constexpr int kBytes = kRows * kColumns * static_cast<int>(sizeof(T));

  T* data;

  __device__ T* vector(int row, int v) const {
    constexpr int kVectors = kColumns / kVector<T>;
    constexpr int kLine = kVectors < 8 ? kVectors : 8;  // vectors of a row within 128 bytes
    const int line = row / (8 / kLine);
    // ldmatrix reads 8 rows of one vector; columns of float are read as 4 rows of two vectors.
    const int swizzle = kAlongK || sizeof(T) == 2 ? line % kLine : line % (kLine / 2) * 2;
    return data + (row * kVectors + (v ^ swizzle)) * kVector<T>;
  }
  __device__ T& at(int mn, int k) const {
    const int row = kAlongK ? mn : k;
    const int column = kAlongK ? k : mn;
    return vector(row, column / kVector<T>)[column % kVector<T>];
  }
};

/// Loads the fragment of a 16 x kStep block at (m, k).
template <class Tile>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const Tile& tile, int m, int k, int lane) {
  using T = typename Tile::Element;
  if constexpr (Tile::kAlongK) {
    ldmatrix_x4(a, tile.vector(m + lane % 16, k / kVector<T> + lane / 16));
  } else if constexpr (sizeof(T) == 2) {
    ldmatrix_x4_trans(a, tile.vector(k + lane / 16 * 8 + lane % 8, m / kVector<T> + lane / 8 % 2));
  } else {
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i)
      memcpy(&a[i], &tile.at(m + i % 2 * 8 + lane / 4, k + i / 2 * 4 + lane % 4), sizeof(a[i]));
  }
}

/// Loads the fragments of two kStep x 8 blocks, at (k, n) and (k, n + 8).
template <class Tile>
__device__ __forceinline__ void load_b(uint32_t (&b)[2][2], const Tile& tile, int n, int k,
                                       int lane) {
  using T = typename Tile::Element;
  uint32_t r[4];
  if constexpr (Tile::kAlongK) {
    ldmatrix_x4(r, tile.vector(n + lane / 16 * 8 + lane % 8, k / kVector<T> + lane / 8 % 2));
  } else if constexpr (sizeof(T) == 2) {
    ldmatrix_x4_trans(r, tile.vector(k + lane % 16, n / kVector<T> + lane / 16));
  } else {
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i)
      memcpy(&r[i], &tile.at(n + i / 2 * 8 + lane / 4, k + i % 2 * 4 + lane % 4), sizeof(r[i]));
  }
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}

template <class T>
struct TensorCores {
  using Element = T;

  /// acc += a[m.., k..k + kStep] b[k.., n..] for one warp.
  template <int kM, int kN, class TileA, class TileB>
  static __device__ __forceinline__ void multiply(float (&acc)[kM][kN][4], const TileA& tile_a,
                                                  const TileB& tile_b, int m, int n, int k,
                                                  int lane) {
    static_assert(kN % 2 == 0);
    uint32_t a[kM][4];
    SCULPT_UNROLL
    for (int i = 0; i < kM; ++i) {
      load_a(a[i], tile_a, m + 16 * i, k, lane);
      if constexpr (sizeof(T) == 4)
        for (uint32_t& word : a[i])
          word = round_to_tf32(word);
    }
    SCULPT_UNROLL
    for (int j = 0; j < kN; j += 2) {
      uint32_t b[2][2];
      load_b(b, tile_b, n + 8 * j, k, lane);
      SCULPT_UNROLL
      for (int half = 0; half < 2; ++half) {
        if constexpr (sizeof(T) == 4)
          for (uint32_t& word : b[half])
            word = round_to_tf32(word);
        SCULPT_UNROLL
        for (int i = 0; i < kM; ++i)
          if constexpr (sizeof(T) == 2)
            mma_bf16_16816(acc[i][j + half], a[i], b[half]);
          else
            mma_tf32_1688(acc[i][j + half], a[i], b[half]);
      }
    }
  }
};

using Bf16 = TensorCores<bf16>;
using Tf32 = TensorCores<float>;

struct Fp32 {
  using Element = float;

  template <int kM, int kN, class TileA, class TileB>
  static __device__ __forceinline__ void multiply(float (&acc)[kM][kN][4], const TileA& tile_a,
                                                  const TileB& tile_b, int m, int n, int k,
                                                  int lane) {
    SCULPT_UNROLL_BY(2)  // unrolling more would keep too many loads in registers
    for (int step = 0; step < kStep<float>; ++step) {
      float a[kM][2];
      float b[kN][2];
      SCULPT_UNROLL
      for (int i = 0; i < 2 * kM; ++i)
        a[i / 2][i % 2] = tile_a.at(m + 8 * i + lane / 4, k + step);
      SCULPT_UNROLL
      for (int j = 0; j < 2 * kN; ++j)
        b[j / 2][j % 2] = tile_b.at(n + j / 2 * 8 + lane % 4 * 2 + j % 2, k + step);
      SCULPT_UNROLL
      for (int i = 0; i < kM; ++i)
        SCULPT_UNROLL
      for (int j = 0; j < kN; ++j)
        SCULPT_UNROLL
      for (int e = 0; e < 4; ++e)
        acc[i][j][e] = fmaf(a[i][e / 2], b[j][e % 2], acc[i][j][e]);
    }
  }
};

}  // namespace sculpt::kernels::cuda
