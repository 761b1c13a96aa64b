#pragma once
// Convolutions of whole images write pixels of 16 output channels, which a warp computes as two
// products of 8 columns, and leave sums of these channels over an image.

#include "kernels/cuda/conv2d/operands.h"
#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/unroll.h"

namespace sculpt::kernels::cuda {

inline constexpr int kGroup = 16;       ///< output channels of a warp
inline constexpr int kUnitPixels = 16;  ///< rows of one mma

/// The output channel of an image's group that column `column` of product `n` computes. The columns
/// are permuted so that a lane, which gets columns 2 t and 2 t + 1 of both products, gets the four
/// channels from 4 t on.
__device__ __forceinline__ int channel_of(int n, int column) {
  return column / 2 * 4 + 2 * n + column % 2;
}

/// Four channels of a pixel as they are stored, in two words.
struct Stored {
  uint32_t word[2];

  __device__ __forceinline__ float at(int i) const {
    const uint32_t bits = i % 2 == 0 ? word[i / 2] << 16 : word[i / 2] & 0xffff0000u;
    return __uint_as_float(bits);
  }
};

/// Adds up the lanes with the same four channels. totals[2 i] and totals[2 i + 1] are two sums of
/// the lane's channel i. Lane l gets one number: the first sum (l / 4 even) or the second one (odd)
/// of channel l % 4 * 4 + l / 8.
__device__ __forceinline__ double sum_over_lanes(double (&totals)[8], int lane) {
  SCULPT_UNROLL
  for (int kept = 4; kept > 0; kept /= 2) {
    const bool upper = (lane & 4 * kept) != 0;
    SCULPT_UNROLL
    for (int i = 0; i < kept; ++i) {
      const double mine = upper ? totals[i + kept] : totals[i];
      const double given = upper ? totals[i] : totals[i + kept];
      totals[i] = mine + __shfl_xor_sync(kAllLanes, given, 4 * kept);
    }
  }
  return totals[0];
}

/// Sums over the elements that a lane has written of four channels, and of their squares. It sums
/// them after subtracting one of the first numbers it saw, because otherwise x^2 would swamp the
/// variance.
struct LaneSums {
  float shift[4], sum[4], squares[4];
  int count;

  __device__ __forceinline__ void start(const Stored& near) {
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i)
      shift[i] = near.at(i);
  }
  __device__ __forceinline__ void add(const Stored& stored) {
    ++count;
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float centred = stored.at(i) - shift[i];
      sum[i] += centred;
      squares[i] = fmaf(centred, centred, squares[i]);
    }
  }

  /// Returns what sum_over_lanes() returns.
  __device__ __forceinline__ double over_lanes(int lane) const {
    double totals[8];
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const double n = count, at = shift[i], first = sum[i];
      totals[2 * i] = n * at + first;
      totals[2 * i + 1] = (n * at + 2 * first) * at + static_cast<double>(squares[i]);
    }
    return sum_over_lanes(totals, lane);
  }
};

/// The work that a kernel does beside convolving: it sums the channels of what it writes, or adds
/// to what its output held before.
enum class With { nothing, sums, accumulation };

/// Writes 16 pixels from `first_pixel` on, of which the image may lack some. `out` is the lane's
/// first channel of the image's first pixel. `sum` is what mma leaves of the two products. Then
/// calls written(half, pixel, stored) for each of the lane's pixels, of which half 0 is the first.
template <class Written>
__device__ __forceinline__ void write_unit(bf16* out, float (&sum)[2][4], int first_pixel,
                                           int pixels, int channels, bool accumulate, int lane,
                                           const Written& written) {
  SCULPT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int pixel = first_pixel + lane / 4 + 8 * half;
    if (pixel >= pixels) continue;
    bf16* const to = out + pixel * channels;
    if (accumulate) {
      const Floats<4> before = load_floats<4>(to);
      SCULPT_UNROLL
      for (int e = 0; e < 4; ++e)
        sum[e / 2][2 * half + e % 2] += before.at[e];
    }
    const Stored stored = {{pack_bf16(sum[0][2 * half], sum[0][2 * half + 1]),
                            pack_bf16(sum[1][2 * half], sum[1][2 * half + 1])}};
    store_pack(reinterpret_cast<uint32_t*>(to),
               Pack<uint32_t, 2>{{stored.word[0], stored.word[1]}});
    written(half, pixel, stored);
  }
}

/// Writes 16 pixels as the function above, and adds them to the sums if kWith says so.
template <With kWith>
__device__ __forceinline__ void write_unit(bf16* out, float (&sum)[2][4], int first_pixel,
                                           int pixels, int channels, bool is_first,
                                           LaneSums& lane_sums, int lane) {
  write_unit(out, sum, first_pixel, pixels, channels, kWith == With::accumulation, lane,
             [&](int half, int, const Stored& stored) {
               if (kWith != With::sums) return;
               if (is_first && half == 0) lane_sums.start(stored);
               lane_sums.add(stored);
             });
}

/// Pairs of sums of the channels of images in shared memory: [image][share of the
/// pixels][channel][2].
template <int kChannels, int kShares, int kThreads_>
struct ImageSums {
  /// Bytes of the sums of one image.
  static constexpr size_t kImageBytes = sizeof(SumPair) * kShares * kChannels;

  double* data;

  /// Puts (or adds) what sum_over_lanes() has returned to the lanes of a warp. `channel` is the
  /// lane's first.
  __device__ __forceinline__ void put(int image, int share, int channel, double sum, int lane,
                                      bool add = false) const {
    const int place = (image * kShares + share) * kChannels + channel + lane / 8;
    double* const to = data + place * 2 + lane / 4 % 2;
    *to = add ? *to + sum : sum;
  }
  /// partials[channel][first_image + i] = the sums of image i, for i < images. All warps have put
  /// their sums before.
  __device__ __forceinline__ void add_up(SumPair* partials, int images, int first_image,
                                         int all_images) const {
    for (int i = static_cast<int>(threadIdx.x); i < images * kChannels; i += kThreads_) {
      const int image = i / kChannels, c = i % kChannels;
      SumPair total = {};
      for (int share = 0; share < kShares; ++share)
        for (int e = 0; e < 2; ++e)
          total.at[e] += data[((image * kShares + share) * kChannels + c) * 2 + e];
      partials[static_cast<int64_t>(c) * all_images + first_image + image] = total;
    }
  }
};

}  // namespace sculpt::kernels::cuda
