// Convolution of whole images, forward and gradient of the input. A warp owns 16 output channels,
// whose weights it keeps in registers, and takes 32 pixels at a time. The input lies in memory, or
// it is the output of a batch norm whose input the kernel normalises. Work: 2 * macs * batch FLOPs.
// x (or dy) and y (or dx) pass through memory once, dx twice if it is accumulated.
//
// The gradient of the input is the same convolution with the window turned by 180 degrees and with
// the roles of the weight's channels exchanged.

#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/image/image_output.h"
#include "kernels/cuda/conv2d/image/image_tile.h"
#include "kernels/cuda/conv2d/image/normalise.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kUnits = 2;  // units of pixels that a warp takes at a time

struct ImageConv {
  bf16* out;
  const bf16* in;
  NormalisedImages normalised;  ///< the input, if batch norm has not written it
  const bf16* weight;           ///< [o][r][s][c]
  const float* bias;            ///< null: no bias is added
  SumPair* partials;            ///< [channel][image]
  int images, height, width;
  FastDivide by_width;
};

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

/// The source of the input's pixels: its array, or the input of the batch norm before the
/// convolution, which is normalised.
enum class Input { stored, normalised };

/// Loads an image into a tile whose border is zeros, and normalises it.
template <class Tile, int kChannels, int kThreads_>
__device__ __forceinline__ void load_normalised(const Tile& tile, const ImageConv& conv,
                                                const NormaliseConstants<kChannels>& constants,
                                                int64_t image) {
  const int thread = static_cast<int>(threadIdx.x);
  const int plane = thread % Tile::kPlanes, pixels = conv.height * conv.width;
  const bf16* const from = conv.normalised.x + image * pixels * kChannels + plane * 8;
  SCULPT_UNROLL_BY(2)
  for (int pixel = thread / Tile::kPlanes; pixel < pixels; pixel += kThreads_ / Tile::kPlanes) {
    const int y = conv.by_width.quotient(pixel), x = conv.by_width.remainder(pixel, y);
    put_normalised(tile.window(y + 1, x + 1) + plane * Tile::kPlaneBytes,
                   load_pack<8>(from + pixel * kChannels), conv.normalised.relu, constants,
                   plane * 8);
  }
}

template <class Layer, bool kTurned, With kWith, Input kInput>
__global__ void __launch_bounds__(Layer::kWarps* kWarp) convolve_images(const ImageConv conv) {
  follow_previous_kernels();
  constexpr int kChannels = Layer::kChannels, kThreadsHere = Layer::kWarps * kWarp;
  constexpr int kGroups = kChannels / kGroup;
  constexpr int kShares = Layer::kWarps / kGroups;  // warps that share the pixels of an image
  using Tile = ImageTile<kChannels, Layer::kSide>;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const auto tile_of = [&](int i) { return Tile{shared + i * Tile::kBytes}; };
  using Sums = ImageSums<kChannels, kShares, kThreadsHere>;
  constexpr size_t kTileBytes = Layer::kImages * Tile::kBytes;
  constexpr size_t kSumsBytes = Layer::kImages * Sums::kImageBytes;
  const Sums sums{reinterpret_cast<double*>(shared + kTileBytes)};
  const NormaliseConstants<kChannels> constants{
      reinterpret_cast<float*>(shared + kTileBytes + kSumsBytes)};

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = warp % kGroups, share = warp / kGroups;
  const int first_image = static_cast<int>(blockIdx.x) * Layer::kImages;
  const int images = min(Layer::kImages, conv.images - first_image);
  const int pixels = conv.height * conv.width;

  fill_with_zeros<kThreadsHere>(shared, images * Tile::kBytes);
  if constexpr (kInput == Input::normalised) constants.put(conv.normalised.affine);
  __syncthreads();  // the zeros lie before the copies
  for (int i = 0; i < images; ++i) {
    const Tile tile = tile_of(i);
    const int64_t image = first_image + i;
    if constexpr (kInput == Input::normalised)
      load_normalised<Tile, kChannels, kThreadsHere>(tile, conv, constants, image);
    else
      start_copy<Tile, kThreadsHere>(conv.in + image * pixels * kChannels, conv.height, conv.width,
                                     [&](int y, int x) { return tile.window(y + 1, x + 1); });
  }
  cp_async_commit();
  GroupWeights<kChannels> weights;
  weights.template load<kTurned>(conv.weight, group, lane);
  const int channel = group * kGroup + lane % 4 * 4;  // the first of the lane's four
  Floats<4> bias = {};
  if (conv.bias != nullptr)  // parameters need not be aligned to vectors
    for (int i = 0; i < 4; ++i)
      bias.at[i] = conv.bias[channel + i];
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
        write_unit<kWith>(out, acc[u], (unit + u) * kUnitPixels, pixels, kChannels,
                          unit == share * kUnits && u == 0, lane_sums, lane);
    }
    if (kWith == With::sums) sums.put(i, share, channel, lane_sums.over_lanes(lane), lane);
  }
  if (kWith == With::sums) {
    __syncthreads();  // all threads see the sums of all warps
    sums.add_up(conv.partials, images, first_image, conv.images);
  }
}

template <bool kTurned, With kWith, Input kInput = Input::stored>
void launch(const ImageConv& conv, const Conv2dShape& shape, void* stream) {
  with_image_layer(shape, [&](auto layer) {
    using Layer = decltype(layer);
    constexpr int kGroups = Layer::kChannels / kGroup;
    constexpr size_t kSumsBytes =
        ImageSums<Layer::kChannels, Layer::kWarps / kGroups, Layer::kWarps * kWarp>::kImageBytes;
    constexpr size_t kTileBytes = ImageTile<Layer::kChannels, Layer::kSide>::kBytes;
    constexpr size_t kConstantBytes =
        kInput == Input::normalised ? NormaliseConstants<Layer::kChannels>::kBytes : 0;
    SCULPT_LAUNCH((convolve_images<Layer, kTurned, kWith, kInput>),
                  dim3(static_cast<unsigned>(ceil_div(conv.images, Layer::kImages))),
                  dim3(Layer::kWarps * kWarp),
                  Layer::kImages * (kTileBytes + kSumsBytes) + kConstantBytes, stream, conv);
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

namespace {

/// Launches the forward pass. `args` says whether sums are wanted.
template <Input kInput, class Args>
void forward(ImageConv& conv, const Args& args, const Conv2dShape& shape) {
  conv.out = static_cast<bf16*>(args.y);
  conv.weight = static_cast<const bf16*>(args.weight);
  if (args.sums != nullptr) {
    conv.partials = reinterpret_cast<SumPair*>(args.sums->partials);
    args.sums->chunks = args.launch.batch;
    launch<false, With::sums, kInput>(conv, shape, args.launch.stream);
  } else {
    launch<false, With::nothing, kInput>(conv, shape, args.launch.stream);
  }
}

}  // namespace

void image_forward(const ConvForward& args, const Conv2dShape& shape) {
  ImageConv conv = conv_of(shape, args.launch.batch);
  conv.in = static_cast<const bf16*>(args.x);
  conv.bias = static_cast<const float*>(args.bias);
  forward<Input::stored>(conv, args, shape);
}

void image_forward_normalised(const ConvNormForward& args, const Conv2dShape& shape) {
  ImageConv conv = conv_of(shape, args.launch.batch);
  conv.normalised = normalised_images(*args.x);
  forward<Input::normalised>(conv, args, shape);
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
