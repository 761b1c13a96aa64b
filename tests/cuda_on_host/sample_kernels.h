#pragma once
// Kernels of the kinds that a backend consists of, to test the layer with. Each can be broken in
// the way its template parameter says: the tests check that the layer notices.
//
// Comments "race: KERNEL" and "overrun: KERNEL" mark the lines that a sanitizer must name when that
// kernel is broken; mutants_test.py reads them.

#include <cstdint>
#include <cuda_runtime.h>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/ptx.h"

namespace samples {

using namespace sculpt::kernels::cuda;

enum class Mutation { kNone, kNoBarrier, kNoBoundsCheck, kNoWait };

inline constexpr int kBlock = 128;

/// Sums of blocks of kBlock elements, by a tree in shared memory.
template <Mutation kMutation = Mutation::kNone>
__global__ void block_sum(const float* x, float* sums, int n) {
  __shared__ float part[kBlock];
  const int i = blockIdx.x * kBlock + threadIdx.x;
  const bool valid = kMutation == Mutation::kNoBoundsCheck || i < n;
  part[threadIdx.x] = valid ? x[i] : 0.0f;  // overrun: block_sum
  __syncthreads();
  for (unsigned half = kBlock / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];  // race: block_sum
    if (kMutation != Mutation::kNoBarrier) __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}

/// c = a b for square row-major matrices, by tiles in dynamic shared memory; block 8 x 8.
template <Mutation kMutation = Mutation::kNone>
__global__ void tiled_gemm(const float* a, const float* b, float* c, int n) {
  constexpr int kTile = 8;
  SCULPT_DYNAMIC_SHARED(float, tiles);  // 2 x kTile x kTile
  float* tile_a = tiles;
  float* tile_b = tiles + kTile * kTile;
  const int x = threadIdx.x;
  const int y = threadIdx.y;
  const int row = blockIdx.y * kTile + y;
  const int column = blockIdx.x * kTile + x;
  float sum = 0.0f;
  for (int k = 0; k < n; k += kTile) {
    const bool valid_a = row < n && k + x < n;
    const bool valid_b = k + y < n && column < n;
    tile_a[y * kTile + x] = valid_a ? a[row * n + k + x] : 0.0f;       // race: tiled_gemm
    tile_b[y * kTile + x] = valid_b ? b[(k + y) * n + column] : 0.0f;  // race: tiled_gemm
    __syncthreads();
    for (int i = 0; i < kTile; ++i)
      sum += tile_a[y * kTile + i] * tile_b[i * kTile + x];  // race: tiled_gemm
    if (kMutation != Mutation::kNoBarrier) __syncthreads();  // before the tiles are overwritten
  }
  if (row < n && column < n) c[row * n + column] = sum;
}

/// Inclusive prefix sums of blocks of kBlock elements, by shuffles within the warps.
template <Mutation kMutation = Mutation::kNone>
__global__ void block_scan(const int* x, int* scanned) {
  __shared__ int warp_sum[kBlock / kWarp];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  int sum = x[blockIdx.x * kBlock + threadIdx.x];
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, delta);
    if (lane >= delta) sum += other;
  }
  if (lane == kWarp - 1) warp_sum[warp] = sum;  // race: block_scan
  if (kMutation != Mutation::kNoBarrier) __syncthreads();
  for (int w = 0; w < warp; ++w)
    sum += warp_sum[w];  // race: block_scan
  scanned[blockIdx.x * kBlock + threadIdx.x] = sum;
}

inline constexpr int kBins = 16;

/// Counts the values of 4 bits of the keys, by atomics in shared and then in global memory.
template <Mutation kMutation = Mutation::kNone>
__global__ void radix_histogram(const uint32_t* keys, int n, int shift, unsigned* counts) {
  __shared__ unsigned bins[kBins];
  if (threadIdx.x < kBins) bins[threadIdx.x] = 0;
  __syncthreads();
  const int end = kMutation == Mutation::kNoBoundsCheck ? n + 1 : n;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < end; i += gridDim.x * blockDim.x) {
    const uint32_t bin = keys[i] >> shift & (kBins - 1);  // overrun: radix_histogram
    atomicAdd(&bins[bin], 1u);                            // race: radix_histogram
  }
  if (kMutation != Mutation::kNoBarrier) __syncthreads();
  const int bin = threadIdx.x;
  if (bin < kBins) atomicAdd(&counts[bin], bins[bin]);  // race: radix_histogram
}

/// The block that finishes last adds up what all have written.
[[maybe_unused]] static __global__ void last_block_sum(const float* x, float* sums,
                                                       unsigned* num_done, float* total) {
  __shared__ int last;
  if (threadIdx.x < 2) sums[2 * blockIdx.x + threadIdx.x] = x[2 * blockIdx.x + threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(num_done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float sum = 0.0f;
    for (unsigned i = 0; i < 2 * gridDim.x; ++i)
      sum += sums[i];
    *total = sum;
  }
}

/// The way in which a warp loads the operands of mma: by rows, or by columns with the transposing
/// ldmatrix.
enum class Storage { kRowMajor, kColumnMajor };

/// c = a b, 16 x k times k x 8 in bf16, by one warp; k is a multiple of 16. a and b are stored as
/// the parameters say and pass through shared memory.
template <Storage kA, Storage kB, bool kPairs>
__global__ void mma_gemm(const uint16_t* a, const uint16_t* b, float* c, int k) {
  __shared__ __align__(16) uint16_t tile_a[16 * 16];
  __shared__ __align__(16) uint16_t tile_b[16 * 8];
  const int lane = threadIdx.x;
  float sum[4] = {};
  for (int k0 = 0; k0 < k; k0 += 16) {
    for (int i = lane; i < 16 * 16; i += kWarp) {
      const int outer = i / 16, inner = i % 16;
      tile_a[i] =
          kA == Storage::kRowMajor ? a[outer * k + k0 + inner] : a[(k0 + outer) * 16 + inner];
    }
    for (int i = lane; i < 16 * 8; i += kWarp) {
      if (kB == Storage::kRowMajor)
        tile_b[i] = b[(k0 + i / 8) * 8 + i % 8];
      else
        tile_b[i] = b[i / 16 * k + k0 + i % 16];
    }
    __syncwarp();
    // Four 8 x 8 matrices of a: rows 0-7 and 8-15, then the same for columns 8-15.
    uint32_t fragment_a[4];
    if (kA == Storage::kRowMajor)
      ldmatrix_x4(fragment_a, &tile_a[(lane % 16) * 16 + lane / 16 * 8]);
    else
      ldmatrix_x4_trans(fragment_a, &tile_a[(lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8]);
    uint32_t fragment_b[2];
    if (kPairs) {
      if (kB == Storage::kRowMajor)
        ldmatrix_x2_trans(fragment_b, &tile_b[lane % 16 * 8]);
      else
        ldmatrix_x2(fragment_b, &tile_b[lane % 8 * 16 + lane / 8 % 2 * 8]);
    } else {  // one half of a load of four
      uint32_t twice[4];
      if (kB == Storage::kRowMajor)
        ldmatrix_x4_trans(twice, &tile_b[lane % 16 * 8]);
      else
        ldmatrix_x4(twice, &tile_b[lane % 8 * 16 + lane / 8 % 2 * 8]);
      fragment_b[0] = twice[2];
      fragment_b[1] = twice[3];
    }
    mma_bf16_16816(sum, fragment_a, fragment_b);
    __syncwarp();
  }
  for (int i = 0; i < 4; ++i)
    c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

/// c = a b, 16 x k times k x 8 row-major in tf32, by one warp without shared memory.
[[maybe_unused]] static __global__ void tf32_gemm(const float* a, const float* b, float* c, int k) {
  const int lane = threadIdx.x;
  const int group = lane / 4;
  const int member = lane % 4;
  float sum[4] = {};
  for (int k0 = 0; k0 < k; k0 += 8) {
    const uint32_t fragment_a[4] = {__float_as_uint(a[group * k + k0 + member]),
                                    __float_as_uint(a[(group + 8) * k + k0 + member]),
                                    __float_as_uint(a[group * k + k0 + member + 4]),
                                    __float_as_uint(a[(group + 8) * k + k0 + member + 4])};
    const uint32_t fragment_b[2] = {__float_as_uint(b[(k0 + member) * 8 + group]),
                                    __float_as_uint(b[(k0 + member + 4) * 8 + group])};
    mma_tf32_1688(sum, fragment_a, fragment_b);
  }
  for (int i = 0; i < 4; ++i)
    c[(group + i / 2 * 8) * 8 + 2 * member + i % 2] = sum[i];
}

/// Sums of the columns of num_tiles x (4 * blockDim.x) floats; a tile is copied asynchronously
/// while the one before it is used. Threads read what their neighbours copied.
template <Mutation kMutation = Mutation::kNone>
__global__ void column_sums(const float* x, float* sums, int num_tiles) {
  SCULPT_DYNAMIC_SHARED(float, stages);  // 2 x width
  const int width = 4 * blockDim.x;
  const auto begin_copy = [&](int tile) {
    cp_async_16(stages + tile % 2 * width + 4 * threadIdx.x, x + tile * width + 4 * threadIdx.x,
                tile < num_tiles);
    cp_async_commit();
  };
  float sum[4] = {};
  begin_copy(0);
  for (int tile = 0; tile < num_tiles; ++tile) {
    begin_copy(tile + 1);                                    // zeros after the last
    if (kMutation != Mutation::kNoWait) cp_async_wait<1>();  // race: column_sums
    if (kMutation != Mutation::kNoBarrier) __syncthreads();
    for (unsigned i = 0; i < 4; ++i)
      sum[i] += stages[tile % 2 * width + i * blockDim.x + threadIdx.x];  // race: column_sums
    __syncthreads();
  }
  for (unsigned i = 0; i < 4; ++i)
    sums[i * blockDim.x + threadIdx.x] = sum[i];
}

}  // namespace samples
