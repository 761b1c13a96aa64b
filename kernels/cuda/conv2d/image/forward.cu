// Convolution of whole images, forward and gradient of the input. A warp owns 16 output channels,
// whose weights it keeps in registers, and takes 32 pixels at a time. Work: 2 * macs * batch FLOPs.
// x (or dy) and y (or dx) pass through memory once, dx twice if it is accumulated.
//
// The gradient of the input is the same convolution with the window turned by 180 degrees and with
// the roles of the weight's channels exchanged.

#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/image/image_tile.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kTaps = 9;
constexpr int kGroup = 16;       // output channels of a warp
constexpr int kUnitPixels = 16;  // rows of one mma
constexpr int kUnits = 2;        // units of pixels that a warp takes at a time

struct ImageConv {
  bf16* out;
  const bf16* in;
  const bf16* weight;  ///< [o][r][s][c]
  const float* bias;   ///< null: no bias is added
  SumPair* partials;   ///< [channel][image]
  int images, height, width;
  FastDivide by_width;
};

/// The output channel of an image's group that column `column` of product `n` computes. The columns
/// are permuted so that a lane, which gets columns 2 t and 2 t + 1 of both products, gets the four
/// channels from 4 t on.
__device__ __forceinline__ int channel_of(int n, int column) {
  return column / 2 * 4 + 2 * n + column % 2;
}

/// The weights of 16 output channels as operands b of mma: [tap][16 input channels][product][word].
template <int kChannels>
struct GroupWeights {
  static constexpr int kSteps = kChannels / 16;
  uint32_t b[kTaps][kSteps][2][2];

  /// Loads weights w[o][tap][c] for outputs o and inputs c, or if kTurned is true, for outputs c
  /// and inputs o, with the window turned.
  template <bool kTurned>
  __device__ __forceinline__ void load(const bf16* weight, int group, int lane) {
    SCULPT_UNROLL
    for (int n = 0; n < 2; ++n) {
      const int out = group * kGroup + channel_of(n, lane / 4);
      SCULPT_UNROLL
      for (int tap = 0; tap < kTaps; ++tap)
        SCULPT_UNROLL
      for (int step = 0; step < kSteps; ++step)
        SCULPT_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int in = step * 16 + 8 * i + lane % 4 * 2;
        b[tap][step][n][i] =
            kTurned
                ? pair(weight, in, in + 1, kTaps - 1 - tap, out)
                : *reinterpret_cast<const uint32_t*>(weight + (out * kTaps + tap) * kChannels + in);
      }
    }
  }

 private:
  /// Returns w[first][tap][c] and w[second][tap][c] as one word.
  static __device__ __forceinline__ uint32_t pair(const bf16* weight, int first, int second,
                                                  int tap, int c) {
    const uint32_t low = weight[(first * kTaps + tap) * kChannels + c].bits;
    const uint32_t high = weight[(second * kTaps + tap) * kChannels + c].bits;
    return low | high << 16;
  }
};

/// Four channels of a pixel as they are stored, in two words.
struct Stored {
  uint32_t word[2];

  __device__ __forceinline__ float at(int i) const {
    const uint32_t bits = i % 2 == 0 ? word[i / 2] << 16 : word[i / 2] & 0xffff0000u;
    return __uint_as_float(bits);
  }
};

/// Sums over the elements that a lane has written of four channels. It sums them after subtracting
/// one of the first numbers it saw, because otherwise x^2 would swamp the variance.
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

  /// Adds up the lanes with the same channels. Lane l gets one number: the sum (l / 4 even) or the
  /// sum of squares (odd) of channel l % 4 * 4 + l / 8.
  __device__ __forceinline__ double over_lanes(int lane) const {
    double totals[8];
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const double n = count, at = shift[i], first = sum[i];
      totals[2 * i] = n * at + first;
      totals[2 * i + 1] = (n * at + 2 * first) * at + static_cast<double>(squares[i]);
    }
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
};

/// The work that a kernel does beside convolving: it sums the channels of what it writes, or adds
/// to what its output held before.
enum class With { nothing, sums, accumulation };

template <class Layer, bool kTurned, With kWith>
__global__ void __launch_bounds__(Layer::kWarps* kWarp) convolve_images(const ImageConv conv) {
  follow_previous_kernels();
  constexpr int kChannels = Layer::kChannels, kThreadsHere = Layer::kWarps * kWarp;
  constexpr int kGroups = kChannels / kGroup;
  constexpr int kShares = Layer::kWarps / kGroups;  // warps that share the pixels of an image
  using Tile = ImageTile<kChannels, Layer::kSide>;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const auto tile_of = [&](int i) { return Tile{shared + i * Tile::kBytes}; };
  // [image of the block][share][channel][sum, sum of squares]
  auto* const sums = reinterpret_cast<double*>(shared + Layer::kImages * Tile::kBytes);

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = warp % kGroups, share = warp / kGroups;
  const int first_image = static_cast<int>(blockIdx.x) * Layer::kImages;
  const int images = min(Layer::kImages, conv.images - first_image);
  const int pixels = conv.height * conv.width;

  fill_with_zeros<kThreadsHere>(shared, images * Tile::kBytes);
  __syncthreads();  // the zeros lie before the copies
  for (int i = 0; i < images; ++i) {
    const Tile tile = tile_of(i);
    start_copy<Tile, kThreadsHere>(
        conv.in + static_cast<int64_t>(first_image + i) * pixels * kChannels, conv.height,
        conv.width, [&](int y, int x) { return tile.window(y + 1, x + 1); });
  }
  cp_async_commit();
  GroupWeights<kChannels> weights;
  weights.template load<kTurned>(conv.weight, group, lane);
  const int channel = group * kGroup + lane % 4 * 4;  // the first of the lane's four
  Floats<4> bias = {};
  if (conv.bias != nullptr) bias = load_floats<4>(conv.bias + channel);
  cp_async_wait<0>();
  __syncthreads();  // all threads see all copies

  for (int i = 0; i < images; ++i) {
    const Tile tile = tile_of(i);
    bf16* const out =
        conv.out + static_cast<int64_t>(first_image + i) * pixels * kChannels + channel;
    LaneSums lane_sums = {};
    for (int unit = share * kUnits; unit * kUnitPixels < pixels; unit += kShares * kUnits) {
      float acc[kUnits][2][4];
      const unsigned char* from[kUnits];
      SCULPT_UNROLL
      for (int u = 0; u < kUnits; ++u) {
        const int index = (unit + u) * kUnitPixels + lane % 16;
        const int pixel = index < pixels ? index : 0;  // what a missing pixel gives is not written
        const int y = conv.by_width.quotient(pixel);
        from[u] = tile.window(y, conv.by_width.remainder(pixel, y)) + lane / 16 * Tile::kPlaneBytes;
        SCULPT_UNROLL
        for (int e = 0; e < 8; ++e)
          acc[u][e / 4][e % 4] = bias.at[e / 4 * 2 + e % 2];
      }
      SCULPT_UNROLL
      for (int tap = 0; tap < kTaps; ++tap)
        SCULPT_UNROLL
      for (int step = 0; step < kChannels / 16; ++step)
        SCULPT_UNROLL
      for (int u = 0; u < kUnits; ++u) {
        uint32_t a[4];
        ldmatrix_x4(a, from[u] + Tile::tap_bytes(tap / 3, tap % 3) + step * 2 * Tile::kPlaneBytes);
        SCULPT_UNROLL
        for (int n = 0; n < 2; ++n)
          mma_bf16_16816(acc[u][n], a, weights.b[tap][step][n]);
      }
      SCULPT_UNROLL
      for (int u = 0; u < kUnits; ++u)
        SCULPT_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int pixel = (unit + u) * kUnitPixels + lane / 4 + 8 * half;
        bf16* const to = out + pixel * kChannels;
        float(&sum)[2][4] = acc[u];
        if (kWith == With::accumulation && pixel < pixels) {
          const Floats<4> before = load_floats<4>(to);
          SCULPT_UNROLL
          for (int e = 0; e < 4; ++e)
            sum[e / 2][2 * half + e % 2] += before.at[e];
        }
        const Stored stored = {{pack_bf16(sum[0][2 * half], sum[0][2 * half + 1]),
                                pack_bf16(sum[1][2 * half], sum[1][2 * half + 1])}};
        if (kWith == With::sums && unit == share * kUnits && u + half == 0) lane_sums.start(stored);
        if (pixel < pixels) {
          store_pack(reinterpret_cast<uint32_t*>(to),
                     Pack<uint32_t, 2>{{stored.word[0], stored.word[1]}});
          if (kWith == With::sums) lane_sums.add(stored);
        }
      }
    }
    if (kWith == With::sums) {
      const int at = ((i * kShares + share) * kChannels + channel + lane / 8) * 2 + lane / 4 % 2;
      sums[at] = lane_sums.over_lanes(lane);
    }
  }
  if (kWith != With::sums) return;
  __syncthreads();  // all threads see the sums of all warps
  for (int i = static_cast<int>(threadIdx.x); i < images * kChannels; i += kThreadsHere) {
    const int image = i / kChannels, c = i % kChannels;
    SumPair total = {};
    for (int s = 0; s < kShares; ++s)
      for (int e = 0; e < 2; ++e)
        total.at[e] += sums[((image * kShares + s) * kChannels + c) * 2 + e];
    conv.partials[static_cast<int64_t>(c) * conv.images + first_image + image] = total;
  }
}

template <bool kTurned, With kWith>
void launch(const ImageConv& conv, const Conv2dShape& shape, void* stream) {
  with_image_layer(shape, [&](auto layer) {
    using Layer = decltype(layer);
    constexpr int kGroups = Layer::kChannels / kGroup;
    constexpr size_t kSumsBytes =
        sizeof(SumPair) * Layer::kImages * (Layer::kWarps / kGroups) * Layer::kChannels;
    constexpr size_t kTileBytes = ImageTile<Layer::kChannels, Layer::kSide>::kBytes;
    SCULPT_LAUNCH((convolve_images<Layer, kTurned, kWith>),
                  dim3(static_cast<unsigned>(ceil_div(conv.images, Layer::kImages))),
                  dim3(Layer::kWarps * kWarp), Layer::kImages * kTileBytes + kSumsBytes, stream,
                  conv);
  });
}

ImageConv conv_of(const Conv2dShape& shape, int64_t images) {
  ImageConv conv = {};
  conv.images = static_cast<int>(images);
  conv.height = static_cast<int>(shape.in.height);
  conv.width = static_cast<int>(shape.in.width);
  conv.by_width = FastDivide(shape.in.width);
  return conv;
}

}  // namespace

void image_forward(const ConvForward& args, const Conv2dShape& shape) {
  ImageConv conv = conv_of(shape, args.launch.batch);
  conv.out = static_cast<bf16*>(args.y);
  conv.in = static_cast<const bf16*>(args.x);
  conv.weight = static_cast<const bf16*>(args.weight);
  conv.bias = static_cast<const float*>(args.bias);
  if (args.sums != nullptr) {
    conv.partials = reinterpret_cast<SumPair*>(args.sums->partials);
    args.sums->chunks = args.launch.batch;
    launch<false, With::sums>(conv, shape, args.launch.stream);
  } else {
    launch<false, With::nothing>(conv, shape, args.launch.stream);
  }
}

void image_input_grad(const ConvInputGrad& args, const Conv2dShape& shape) {
  ImageConv conv = conv_of(shape, args.launch.batch);
  conv.out = static_cast<bf16*>(args.dx);
  conv.in = static_cast<const bf16*>(args.dy);
  conv.weight = static_cast<const bf16*>(args.weight);
  if (args.write == GradWrite::accumulate)
    launch<true, With::accumulation>(conv, shape, args.launch.stream);
  else
    launch<true, With::nothing>(conv, shape, args.launch.stream);
}

}  // namespace sculpt::kernels::cuda
