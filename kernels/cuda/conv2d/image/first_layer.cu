// The first convolution, forward and gradient of the weight. A block keeps one image of x in shared
// memory. Work: 2 * macs * batch FLOPs (16 / 9 of that are multiplied, with zeros). x and y (or dy)
// pass through memory once.
//
// k counts the values of a row r of the window: k = 4 s + c for the pixels s = 0 ... 3 of the row
// and their channels c = 0 ... 3, of which s = 3 and c = 3 have weights of zero.

#include "kernels/cuda/conv2d/image/first_layer.h"
#include "kernels/cuda/conv2d/image/image_output.h"
#include "kernels/cuda/conv2d/image/weight_sums.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kRows = 3;                       // of the window
constexpr int kPixelBytes = 4 * sizeof(bf16);  // with the fourth channel
constexpr int kTileBytes = plane_distance(kFirstSide * kFirstSide * kPixelBytes, 8);
constexpr int kRawBytes = (kFirstSide - 2) * (kFirstSide - 2) * kFirstChannels * 2;
constexpr int kWarps = 8;
constexpr int kThreadsHere = kWarps * kWarp;

struct Images {
  const bf16* x;
  int images, height, width;
  FastDivide by_width;

  __device__ int pixels() const { return height * width; }
};

/// x in shared memory: an image with a border of zeros. Its first pixel is at (-1, -1).
struct FirstTile {
  unsigned char* data;

  /// Returns the first pixel of the window around (y, x).
  __device__ __forceinline__ const unsigned char* window(int y, int x) const {
    return data + (y * kFirstSide + x) * kPixelBytes;
  }
  __device__ __forceinline__ const unsigned char* window_of(const Images& of, int index) const {
    const int pixel = index < of.pixels() ? index : 0;
    const int y = of.by_width.quotient(pixel);
    return window(y, of.by_width.remainder(pixel, y));
  }
};

/// Starts to copy an image as it is. `raw` has kRawBytes.
__device__ __forceinline__ void start_raw_copy(unsigned char* raw, const Images& of, int image) {
  const int bytes = of.pixels() * kFirstChannels * static_cast<int>(sizeof(bf16));
  const auto* from =
      reinterpret_cast<const unsigned char*>(of.x) + static_cast<int64_t>(image) * bytes;
  for (int i = static_cast<int>(threadIdx.x) * kVectorBytes; i < bytes;
       i += kThreadsHere * kVectorBytes)
    cp_async_16(raw + i, from + i, true);
}

/// Puts the pixels of the copied image into the tile, whose border is zeros already.
__device__ __forceinline__ void spread(const FirstTile& tile, const unsigned char* raw,
                                       const Images& of) {
  const auto* from = reinterpret_cast<const bf16*>(raw);
  for (int i = static_cast<int>(threadIdx.x); i < of.pixels(); i += kThreadsHere) {
    const int y = of.by_width.quotient(i), x = of.by_width.remainder(i, y);
    auto* to = reinterpret_cast<bf16*>(tile.data + ((y + 1) * kFirstSide + x + 1) * kPixelBytes);
    store_pack(to, Pack<bf16, 4>{{from[3 * i], from[3 * i + 1], from[3 * i + 2], bf16{0}}});
  }
}

__device__ __forceinline__ uint32_t load_word(const unsigned char* shared) {
  return *reinterpret_cast<const uint32_t*>(shared);
}
__device__ __forceinline__ uint32_t load_half(const unsigned char* shared) {
  return *reinterpret_cast<const uint16_t*>(shared);
}

struct FirstForward {
  Images in;
  bf16* out;
  const bf16* weight;  ///< [o][r][s][c]
  const float* bias;   ///< null: no bias is added
  SumPair* partials;   ///< [channel][image]
};

/// The weights of 16 output channels as operands b of mma: [row of the window][product][word].
using FirstWeights = uint32_t[kRows][2][2];

__device__ __forceinline__ void load_weights(FirstWeights& b, const bf16* weight, int group,
                                             int lane) {
  SCULPT_UNROLL
  for (int r = 0; r < kRows; ++r)
    SCULPT_UNROLL
  for (int n = 0; n < 2; ++n)
    SCULPT_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int out = group * kGroup + channel_of(n, lane / 4);
    const int s = 2 * i + lane % 4 / 2, c = lane % 2 * 2;
    const bf16* const from = weight + ((out * kRows + r) * 3 + s) * kFirstChannels + c;
    const uint32_t low = s < 3 ? from[0].bits : 0;
    const uint32_t high = s < 3 && c == 0 ? from[1].bits : 0;
    b[r][n][i] = low | high << 16;
  }
}

template <int kOuts, With kWith>
__global__ void __launch_bounds__(kThreadsHere) convolve_first(const FirstForward conv) {
  follow_previous_kernels();
  constexpr int kGroups = kOuts / kGroup, kShares = kWarps / kGroups, kUnits = 2;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const FirstTile tile{shared};
  unsigned char* const raw = shared + kTileBytes;
  const ImageSums<kOuts, kShares, kThreadsHere> sums{reinterpret_cast<double*>(raw + kRawBytes)};

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = warp % kGroups, share = warp / kGroups;
  const int image = static_cast<int>(blockIdx.x);
  const int pixels = conv.in.pixels();

  start_raw_copy(raw, conv.in, image);
  cp_async_commit();
  fill_with_zeros<kThreadsHere>(tile.data, kTileBytes);
  FirstWeights weights;
  load_weights(weights, conv.weight, group, lane);
  const int channel = group * kGroup + lane % 4 * 4;  // the first of the lane's four
  Floats<4> bias = {};
  if (conv.bias != nullptr)  // parameters need not be aligned to vectors
    for (int i = 0; i < 4; ++i)
      bias.at[i] = conv.bias[channel + i];
  cp_async_wait<0>();
  __syncthreads();  // all threads see the copy and the zeros
  spread(tile, raw, conv.in);
  __syncthreads();  // all threads see the tile

  bf16* const out = conv.out + static_cast<int64_t>(image) * pixels * kOuts + channel;
  LaneSums lane_sums = {};
  for (int unit = share * kUnits; unit * kUnitPixels < pixels; unit += kShares * kUnits) {
    float acc[kUnits][2][4];
    SCULPT_UNROLL
    for (int u = 0; u < kUnits; ++u) {
      SCULPT_UNROLL
      for (int e = 0; e < 8; ++e)
        acc[u][e / 4][e % 4] = bias.at[e / 4 * 2 + e % 2];
      const unsigned char* from[2];  // the pixels of the two rows of a that a lane holds
      SCULPT_UNROLL
      for (int half = 0; half < 2; ++half)
        from[half] =
            tile.window_of(conv.in, (unit + u) * kUnitPixels + lane / 4 + 8 * half) + lane % 4 * 4;
      SCULPT_UNROLL
      for (int r = 0; r < kRows; ++r) {
        uint32_t a[4];
        SCULPT_UNROLL
        for (int i = 0; i < 4; ++i)
          a[i] = load_word(from[i % 2] + (r * kFirstSide + i / 2 * 2) * kPixelBytes);
        SCULPT_UNROLL
        for (int n = 0; n < 2; ++n)
          mma_bf16_16816(acc[u][n], a, weights[r][n]);
      }
    }
    SCULPT_UNROLL
    for (int u = 0; u < kUnits; ++u)
      write_unit<kWith>(out, acc[u], (unit + u) * kUnitPixels, pixels, kOuts,
                        unit == share * kUnits && u == 0, lane_sums, lane);
  }
  if (kWith == With::sums) {
    sums.put(0, share, channel, lane_sums.over_lanes(lane), lane);
    __syncthreads();  // all threads see the sums of all warps
    sums.add_up(conv.partials, 1, image, conv.in.images);
  }
}

struct FirstWeightGrad {
  Images in;
  const bf16* dy;
  float* partials;  ///< [split][o][r][s][c]
  int split_images;
};

/// The output channels of a block.
template <int kAllOuts>
constexpr int kBlockOuts = kAllOuts < 32 ? kAllOuts : 32;

/// Columns of the gradient are (r, s, c); two products of 8 columns are the pixels s = 0, 1 and s =
/// 2, 3 of a row of the window, of which s = 3 and c = 3 have no weight. Blocks along y divide the
/// output channels: dy of 64 channels would not fit into the shared memory of small GPUs.
template <int kAllOuts>
__global__ void __launch_bounds__(kThreadsHere) first_weight_grads(const FirstWeightGrad grad) {
  follow_previous_kernels();
  constexpr int kOuts = kBlockOuts<kAllOuts>;
  constexpr int kGroups = kOuts / kGroup, kShares = kWarps / kGroups;
  using Pixels = PixelTile<kOuts, kFirstSide>;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const FirstTile tile{shared};
  unsigned char* const raw = shared + kTileBytes;
  const Pixels dy_tile{raw + kRawBytes};

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int group = warp % kGroups, share = warp / kGroups;
  const int first_out = static_cast<int>(blockIdx.y) * kOuts;
  const int first_image = static_cast<int>(blockIdx.x) * grad.split_images;
  const int end_image = min(first_image + grad.split_images, grad.in.images);
  const int pixels = grad.in.pixels();
  const int dy_pixel = lane / 16 * 8 + lane % 8;
  const int dy_plane = group * 2 + lane / 8 % 2;

  fill_with_zeros<kThreadsHere>(tile.data, kTileBytes);
  fill_with_zeros<kThreadsHere>(dy_tile.data, Pixels::kBytes);
  float acc[kRows][2][4] = {};
  for (int image = first_image; image < end_image; ++image) {
    __syncthreads();  // the zeros lie before the copies, and all threads have left the image before
    start_raw_copy(raw, grad.in, image);
    start_copy<Pixels, kThreadsHere, kAllOuts>(
        grad.dy + static_cast<int64_t>(image) * pixels * kAllOuts + first_out, grad.in.height,
        grad.in.width, [&](int y, int x) { return dy_tile.pixel(y * grad.in.width + x); });
    cp_async_commit();
    cp_async_wait<0>();  // x and dy
    __syncthreads();     // all threads see all copies
    spread(tile, raw, grad.in);
    __syncthreads();  // all threads see the tile and dy
    for (int unit = share; unit * kUnitPixels < pixels; unit += kShares) {
      const int first_pixel = unit * kUnitPixels;
      uint32_t a[4];
      ldmatrix_x4_trans(a, dy_tile.pixel(first_pixel + dy_pixel) + dy_plane * Pixels::kPlaneBytes);
      // Pixels 2 t and 2 t + 1, and these plus 8, are neighbours in a row. dy is zero at pixels
      // that the image lacks.
      const unsigned char* from[2];
      SCULPT_UNROLL
      for (int i = 0; i < 2; ++i)
        from[i] = tile.window_of(grad.in, first_pixel + lane % 4 * 2 + 8 * i) +
                  lane / 4 * static_cast<int>(sizeof(bf16));
      SCULPT_UNROLL
      for (int r = 0; r < kRows; ++r)
        SCULPT_UNROLL
      for (int n = 0; n < 2; ++n) {
        uint32_t b[2];
        SCULPT_UNROLL
        for (int i = 0; i < 2; ++i) {
          const unsigned char* const at = from[i] + (r * kFirstSide + 2 * n) * kPixelBytes;
          b[i] = load_half(at) | load_half(at + kPixelBytes) << 16;
        }
        mma_bf16_16816(acc[r][n], a, b);
      }
    }
  }

  constexpr int kColumns = kRows * 3 * kFirstChannels;
  float* const to =
      grad.partials + (static_cast<int64_t>(blockIdx.x) * kAllOuts + first_out) * kColumns;
  add_in_turns<kThreadsHere>(to, kOuts * kColumns, shared, kShares, share, [&](const auto& body) {
    SCULPT_UNROLL
    for (int r = 0; r < kRows; ++r)
      SCULPT_UNROLL
    for (int n = 0; n < 2; ++n)
      SCULPT_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int out = group * kGroup + lane / 4 + e / 2 * 8;
      const int column = lane % 4 * 2 + e % 2, s = 2 * n + column / 4, c = column % 4;
      if (s == 3 || c == 3) continue;
      body(out * kColumns + (r * 3 + s) * kFirstChannels + c, acc[r][n][e]);
    }
  });
}

Images images_of(const void* x, const Conv2dShape& shape, int64_t images) {
  Images of = {};
  of.x = static_cast<const bf16*>(x);
  of.images = static_cast<int>(images);
  of.height = static_cast<int>(shape.in.height);
  of.width = static_cast<int>(shape.in.width);
  of.by_width = FastDivide(shape.in.width);
  return of;
}

template <With kWith>
void launch(const FirstForward& conv, const Conv2dShape& shape, void* stream) {
  with_first_layer(shape, [&](auto outs) {
    constexpr int kOuts = decltype(outs)::value;
    constexpr size_t kSumsBytes =
        ImageSums<kOuts, kWarps / (kOuts / kGroup), kThreadsHere>::kImageBytes;
    SCULPT_LAUNCH((convolve_first<kOuts, kWith>), dim3(static_cast<unsigned>(conv.in.images)),
                  dim3(kThreadsHere), kTileBytes + kRawBytes + kSumsBytes, stream, conv);
  });
}

}  // namespace

void first_layer_forward(const ConvForward& args, const Conv2dShape& shape) {
  FirstForward conv = {};
  conv.in = images_of(args.x, shape, args.launch.batch);
  conv.out = static_cast<bf16*>(args.y);
  conv.weight = static_cast<const bf16*>(args.weight);
  conv.bias = static_cast<const float*>(args.bias);
  if (args.sums != nullptr) {
    conv.partials = reinterpret_cast<SumPair*>(args.sums->partials);
    args.sums->chunks = args.launch.batch;
    launch<With::sums>(conv, shape, args.launch.stream);
  } else {
    launch<With::nothing>(conv, shape, args.launch.stream);
  }
}

void first_layer_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                             const Splits& splits) {
  FirstWeightGrad grad = {};
  grad.in = images_of(args.x, shape, args.launch.batch);
  grad.dy = static_cast<const bf16*>(args.dy);
  grad.partials = partials;
  grad.split_images = static_cast<int>(splits.length);
  with_first_layer(shape, [&](auto outs) {
    constexpr int kAllOuts = decltype(outs)::value, kOuts = kBlockOuts<kAllOuts>;
    constexpr size_t kDyBytes = PixelTile<kOuts, kFirstSide>::kBytes;
    SCULPT_LAUNCH(first_weight_grads<kAllOuts>,
                  dim3(static_cast<unsigned>(splits.count), kAllOuts / kOuts), dim3(kThreadsHere),
                  kTileBytes + kRawBytes + kDyBytes, args.launch.stream, grad);
  });
}

}  // namespace sculpt::kernels::cuda
