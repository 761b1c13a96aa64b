#pragma once
// The sums of a weight gradient while a block walks over images. A warp owns 16 output and 16 input
// channels, with all nine taps, whose sums it keeps in registers.

#include "kernels/cuda/conv2d/image/image_output.h"
#include "kernels/cuda/conv2d/image/image_tile.h"

namespace sculpt::kernels::cuda {

/// How kWarps warps of a block divide the weights of a layer with kChannels input and output
/// channels, and the pixels. Blocks along y divide the output channels.
template <int kChannels, int kWarps>
struct WeightDivision {
  static constexpr int kInGroups = kChannels / kGroup;
  /// Groups of output channels of a block: all of them, if there are enough warps.
  static constexpr int kOutGroups =
      kInGroups * kInGroups <= kWarps ? kInGroups : kWarps / kInGroups;
  static constexpr int kBlocks = kInGroups / kOutGroups;
  /// Warps that own the same weights and share the pixels.
  static constexpr int kShares = kWarps / (kInGroups * kOutGroups);
  static constexpr int kOuts = kOutGroups * kGroup;
  /// The bytes of shared memory that write_weight_sums() needs.
  static constexpr size_t kTotalBytes = sizeof(float) * kOuts * kTaps * kChannels;
};

/// The place of a warp in a WeightDivision.
template <class Divided>
struct WeightPlace {
  int in_group, out_group, share;

  __device__ explicit WeightPlace(int warp)
      : in_group(warp % Divided::kInGroups),
        out_group(warp / Divided::kInGroups % Divided::kOutGroups),
        share(warp / (Divided::kInGroups * Divided::kOutGroups)) {}
};

/// The sums of a warp: [tap][8 of its input channels][element], as mma leaves them.
using WarpSums = float[kTaps][2][4];

/// Calls body(o, tap, c, sum) for the sums of a lane. o and c count from the warp's first channels.
template <class Body>
__device__ __forceinline__ void for_each_sum(WarpSums& acc, int lane, const Body& body) {
  SCULPT_UNROLL
  for (int tap = 0; tap < kTaps; ++tap)
    SCULPT_UNROLL
  for (int n = 0; n < 2; ++n)
    SCULPT_UNROLL
  for (int e = 0; e < 4; ++e)
    body(lane / 4 + e / 2 * 8, tap, n * 8 + lane % 4 * 2 + e % 2, acc[tap][n][e]);
}

/// Adds the products of 16 pixels to the sums. A pixel is a row of dy's matrix and of x's matrix.
/// Lane l names pixel l / 16 * 8 + l % 8, and the first (l / 8 even) or the second 8 channels of
/// the warp. `dy` is the vector of these output channels of the pixel, and `window` is the vector
/// of these input channels of the first pixel of its window.
template <class Tile>
__device__ __forceinline__ void add_products(WarpSums& acc, const unsigned char* dy,
                                             const unsigned char* window) {
  uint32_t a[4];
  ldmatrix_x4_trans(a, dy);
  SCULPT_UNROLL
  for (int tap = 0; tap < kTaps; ++tap) {
    uint32_t r[4];
    ldmatrix_x4_trans(r, window + Tile::tap_bytes(tap / 3, tap % 3));
    SCULPT_UNROLL
    for (int n = 0; n < 2; ++n) {
      const uint32_t b[2] = {r[n], r[n + 2]};
      mma_bf16_16816(acc[tap][n], a, b);
    }
  }
}

/// Writes `count` numbers, of which every share of a block's warps has computed a part: adds the
/// parts in turn, in a fixed order. for_each(body) calls body(place, part) for the numbers of the
/// thread. `shared` overwrites what the warps have read before. `count` is a multiple of 4.
template <int kThreads_, class ForEach>
__device__ __forceinline__ void add_in_turns(float* to, int count, unsigned char* shared,
                                             int shares, int share, const ForEach& for_each) {
  auto* const totals = reinterpret_cast<float*>(shared);
  for (int turn = 0; turn < shares; ++turn) {
    __syncthreads();  // all threads have left the tiles, or have seen the sums of the turn before
    if (share != turn) continue;
    for_each(
        [&](int place, float part) { totals[place] = turn == 0 ? part : totals[place] + part; });
  }
  __syncthreads();  // all threads see the totals
  for (int i = static_cast<int>(threadIdx.x) * 4; i < count; i += kThreads_ * 4)
    store_pack(to + i, load_pack<4>(totals + i));
}

/// Writes the sums of a block: to[o][tap][c] for its output channels o. `shared` overwrites what
/// the warps have read before.
template <int kChannels, int kWarps>
__device__ __forceinline__ void write_weight_sums(
    float* to, WarpSums& acc, unsigned char* shared,
    const WeightPlace<WeightDivision<kChannels, kWarps>>& at, int lane) {
  using Divided = WeightDivision<kChannels, kWarps>;
  constexpr int kCount = Divided::kOuts * kTaps * kChannels;
  add_in_turns<kWarps * kWarp>(
      to, kCount, shared, Divided::kShares, at.share, [&](const auto& body) {
        for_each_sum(acc, lane, [&](int o, int tap, int c, float sum) {
          body(((at.out_group * kGroup + o) * kTaps + tap) * kChannels + at.in_group * kGroup + c,
               sum);
        });
      });
}

}  // namespace sculpt::kernels::cuda
