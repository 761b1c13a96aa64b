#pragma once
// Shared parts of the kernels on NHWC activations: vectors of channels in float, the tiling of a
// [rows][channels] matrix over blocks, sums over a block's rows, and the transposition between NHWC
// and NCHW. Rows are the pixels of an image or of the whole batch.
//
// Activations are 16-byte aligned. Where the channels are a multiple of kVector<T>, a thread owns a
// 16-byte vector of them; otherwise it owns one channel.

#include <type_traits>

#include "kernels/common/layout.h"
#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/element.h"

namespace sculpt::kernels::cuda {

inline constexpr int kThreads = 256;  ///< per block, in every kernel on NHWC activations

/// N neighbouring elements in float.
template <int N>
struct Floats {
  float at[N];
};

template <int N, class T>
__device__ inline Floats<N> load_floats(const T* p) {
  const Pack<T, N> pack = load_pack<N>(p);
  Floats<N> result;
  for (int i = 0; i < N; ++i)
    result.at[i] = to_float(pack.at[i]);
  return result;
}

template <int N, class T>
__device__ inline void store_floats(T* p, const Floats<N>& values) {
  Pack<T, N> pack;
  for (int i = 0; i < N; ++i)
    pack.at[i] = from_float<T>(values.at[i]);
  store_pack(p, pack);
}

/// *p (=, +=) values. With accumulate, the sum is rounded once.
template <int N, class T>
__device__ inline void write_floats(T* p, Floats<N> values, bool accumulate) {
  if (accumulate) {
    const Floats<N> before = load_floats<N>(p);
    for (int i = 0; i < N; ++i)
      values.at[i] += before.at[i];
  }
  store_floats(p, values);
}

/// Calls body(std::integral_constant<int, N>), where N is the widest vector that divides
/// `channels`.
template <class T, class Body>
void with_vector(int64_t channels, const Body& body) {
  if (channels % kVector<T> == 0)
    body(std::integral_constant<int, kVector<T>>{});
  else
    body(std::integral_constant<int, 1>{});
}

/// The partition of a [rows][channels] matrix between blocks and threads. A block covers `tile`
/// vectors of a row. Its threads are arranged first along these vectors and then along `tile_rows`
/// rows, so that a warp reads neighbouring words even if a row is short. A block processes
/// `chunk_rows` rows. The partition does not depend on the device, so sums are the same on all
/// devices.
struct Tiling {
  int64_t rows;
  int64_t chunk_rows;
  int channels;
  int tile;
  int tile_rows;

  int64_t chunks() const { return ceil_div(rows, chunk_rows); }
};

/// The part of a Tiling that a thread processes: rows [row, row_end) in steps of tile_rows, and N
/// channels starting at `channel`. Threads without work have row >= row_end.
struct Place {
  int64_t row;
  int64_t row_end;
  int channel;
};

template <int N>
__device__ inline Place place(const Tiling& t, int64_t chunk, int channel_tile) {
  const int thread = static_cast<int>(threadIdx.x);
  const int channel = (channel_tile * t.tile + thread % t.tile) * N;
  const int row = thread / t.tile;
  const int64_t begin = chunk * t.chunk_rows;
  const int64_t end = begin + t.chunk_rows < t.rows ? begin + t.chunk_rows : t.rows;
  const bool works = row < t.tile_rows && channel < t.channels;
  return {works ? begin + row : end, end, channel};
}

inline constexpr int kMaxTile = 32;  // 512 bytes of a row, which is long enough for streaming

/// Returns the number of vectors per row and block, for `groups` vectors per row. Tiles have equal
/// sizes of at most kMaxTile.
inline int channel_tile(int64_t groups) {
  return static_cast<int>(ceil_div(groups, ceil_div(groups, kMaxTile)));
}

/// Adds up sums[i] over all threads with the same channels, in a fixed order. The result is valid
/// in a block's first `tile` threads. `shared` holds M * kThreads numbers and may be reused after a
/// __syncthreads(). Every thread of the block must call.
template <int M, class Number>
__device__ inline void sum_over_rows(Number (&sums)[M], Number* shared, const Tiling& t) {
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / t.tile;
  for (int i = 0; i < M; ++i)
    shared[i * kThreads + thread] = sums[i];
  int half = 1;
  while (2 * half < t.tile_rows)
    half *= 2;
  for (; half > 0; half /= 2) {
    __syncthreads();
    if (row < half && row + half < t.tile_rows)
      for (int i = 0; i < M; ++i)
        shared[i * kThreads + thread] += shared[i * kThreads + thread + half * t.tile];
  }
  for (int i = 0; i < M; ++i)
    sums[i] = shared[i * kThreads + thread];
}

/// Two sums over the same elements of a channel, as in ChannelSums.
using SumPair = Pack<double, 2>;

/// out[n][column][row] (=, +=) in[n][row][column]. Reads and writes whole rows of 32 x 32 tiles.
template <class Out, class In>
__global__ void __launch_bounds__(kThreads)
    transpose_images(Out* out, const In* in, int rows, int columns, bool accumulate) {
  follow_previous_kernels();
  constexpr int kTileRows = kThreads / kWarp;
  __shared__ float tile[kWarp][kWarp + 1];  // the extra column avoids bank conflicts
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t image = static_cast<int64_t>(blockIdx.x) * rows * columns;
  const int first_row = static_cast<int>(blockIdx.y) * kWarp;
  const int first_column = static_cast<int>(blockIdx.z) * kWarp;
  for (int i = warp; i < kWarp; i += kTileRows) {
    const int row = first_row + i, column = first_column + lane;
    if (row < rows && column < columns)
      tile[i][lane] = to_float(in[image + static_cast<int64_t>(row) * columns + column]);
  }
  __syncthreads();
  for (int i = warp; i < kWarp; i += kTileRows) {
    const int row = first_row + lane, column = first_column + i;
    if (row >= rows || column >= columns) continue;
    Out* to = out + image + static_cast<int64_t>(column) * rows + row;
    const float value = tile[lane][i];
    *to = from_float<Out>(accumulate ? to_float(*to) + value : value);
  }
}

/// Transposes each image of the batch: out [columns][rows] (=, +=) in [rows][columns].
template <class Out, class In>
void transpose(void* out, const void* in, int64_t rows, int64_t columns, GradWrite write,
               const Launch& launch) {
  const dim3 grid(static_cast<unsigned>(launch.batch), static_cast<unsigned>(ceil_div(rows, kWarp)),
                  static_cast<unsigned>(ceil_div(columns, kWarp)));
  SCULPT_LAUNCH((transpose_images<Out, In>), grid, dim3(kThreads), 0, launch.stream,
                static_cast<Out*>(out), static_cast<const In*>(in), static_cast<int>(rows),
                static_cast<int>(columns), write == GradWrite::accumulate);
}

}  // namespace sculpt::kernels::cuda
