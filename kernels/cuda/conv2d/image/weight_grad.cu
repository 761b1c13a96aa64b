// Convolution of whole images, gradient of the weight. A warp owns 16 output and 16 input channels,
// with all nine taps, whose sums it keeps in registers over the images of its block. Work: 2 * macs
// * batch FLOPs. dy and x pass through memory once. A partial gradient per split of the batch is
// written, and read once by the kernel that adds up the splits.

#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/image/image_tile.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kTaps = 9;
constexpr int kGroup = 16;       // output channels of a warp, and input channels of a warp
constexpr int kUnitPixels = 16;  // the k extent of one mma
constexpr int kWarps = 8;
constexpr int kThreadsHere = kWarps * kWarp;

struct ImageWeightGrad {
  float* partials;  ///< [split][o][r][s][c]
  const bf16* dy;
  const bf16* x;
  int images, split_images, height, width;
  FastDivide by_width;
};

/// How the warps of a block divide a layer's weights and pixels. Blocks along y divide the output
/// channels.
template <int kChannels>
struct Division {
  static constexpr int kInGroups = kChannels / kGroup;
  /// Groups of output channels of a block: all of them, if there are enough warps.
  static constexpr int kOutGroups =
      kInGroups * kInGroups <= kWarps ? kInGroups : kWarps / kInGroups;
  static constexpr int kBlocks = kInGroups / kOutGroups;
  /// Warps that own the same weights and share the pixels.
  static constexpr int kShares = kWarps / (kInGroups * kOutGroups);
  static constexpr int kOuts = kOutGroups * kGroup;
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

template <class Layer>
__global__ void __launch_bounds__(kThreadsHere) image_weight_grads(const ImageWeightGrad grad) {
  follow_previous_kernels();
  constexpr int kChannels = Layer::kChannels;
  using Divided = Division<kChannels>;
  using Tile = ImageTile<kChannels, Layer::kSide>;
  using Pixels = PixelTile<kChannels, Layer::kSide>;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const Tile x_tile{shared};
  const Pixels dy_tile{shared + Tile::kBytes};

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int in_group = warp % Divided::kInGroups;
  const int out_group = warp / Divided::kInGroups % Divided::kOutGroups;
  const int share = warp / (Divided::kInGroups * Divided::kOutGroups);
  const int first_out = static_cast<int>(blockIdx.y) * Divided::kOuts;
  const int first_image = static_cast<int>(blockIdx.x) * grad.split_images;
  const int end_image = min(first_image + grad.split_images, grad.images);
  const int pixels = grad.height * grad.width;
  // A row of dy's matrix is a pixel. Lanes 0 to 7 and 16 to 23 name the first 8 channels.
  const int dy_pixel = lane / 16 * 8 + lane % 8;
  const int dy_plane = (first_out + out_group * kGroup) / 8 + lane / 8 % 2;
  const int x_plane = in_group * 2 + lane / 16;

  // Every image overwrites the same pixels, so the border and the missing pixels stay zeros.
  fill_with_zeros<kThreadsHere>(shared, Tile::kBytes + Pixels::kBytes);
  WarpSums acc = {};
  for (int image = first_image; image < end_image; ++image) {
    __syncthreads();  // the zeros lie before the copies, and all threads have left the image before
    const int64_t offset = static_cast<int64_t>(image) * pixels * kChannels;
    start_copy<Tile, kThreadsHere>(grad.x + offset, grad.height, grad.width,
                                   [&](int y, int x) { return x_tile.window(y + 1, x + 1); });
    start_copy<Pixels, kThreadsHere>(grad.dy + offset, grad.height, grad.width, [&](int y, int x) {
      return dy_tile.pixel(y * grad.width + x);
    });
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();  // all threads see all copies
    for (int unit = share; unit * kUnitPixels < pixels; unit += Divided::kShares) {
      uint32_t a[4];
      ldmatrix_x4_trans(
          a, dy_tile.pixel(unit * kUnitPixels + dy_pixel) + dy_plane * Pixels::kPlaneBytes);
      const int index = unit * kUnitPixels + lane % 16;
      const int pixel = index < pixels ? index : 0;  // dy is zero at a missing pixel
      const int y = grad.by_width.quotient(pixel);
      const unsigned char* const from =
          x_tile.window(y, grad.by_width.remainder(pixel, y)) + x_plane * Tile::kPlaneBytes;
      SCULPT_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) {
        uint32_t r[4];
        ldmatrix_x4_trans(r, from + Tile::tap_bytes(tap / 3, tap % 3));
        SCULPT_UNROLL
        for (int n = 0; n < 2; ++n) {
          const uint32_t b[2] = {r[2 * n], r[2 * n + 1]};
          mma_bf16_16816(acc[tap][n], a, b);
        }
      }
    }
  }

  // Warps that share pixels add their sums in turn, in a fixed order. The memory of the tiles is
  // used again: [o][tap][c] of the block's outputs.
  auto* const totals = reinterpret_cast<float*>(shared);
  constexpr int kCount = Divided::kOuts * kTaps * kChannels;
  for (int turn = 0; turn < Divided::kShares; ++turn) {
    __syncthreads();  // all threads have left the tiles, or have seen the sums of the turn before
    if (share != turn) continue;
    for_each_sum(acc, lane, [&](int o, int tap, int c, float sum) {
      float* const to =
          totals + ((out_group * kGroup + o) * kTaps + tap) * kChannels + in_group * kGroup + c;
      *to = turn == 0 ? sum : *to + sum;
    });
  }
  __syncthreads();  // all threads see the totals
  float* const to = grad.partials + (static_cast<int64_t>(blockIdx.x) * kChannels + first_out) *
                                        (kTaps * kChannels);
  for (int i = static_cast<int>(threadIdx.x) * 4; i < kCount; i += kThreadsHere * 4)
    store_pack(to + i, load_pack<4>(totals + i));
}

}  // namespace

void image_weight_grad(float* partials, const ConvWeightGrad& args, const Conv2dShape& shape,
                       const Splits& splits) {
  ImageWeightGrad grad = {};
  grad.partials = partials;
  grad.dy = static_cast<const bf16*>(args.dy);
  grad.x = static_cast<const bf16*>(args.x);
  grad.images = static_cast<int>(args.launch.batch);
  grad.split_images = static_cast<int>(splits.length);
  grad.height = static_cast<int>(shape.in.height);
  grad.width = static_cast<int>(shape.in.width);
  grad.by_width = FastDivide(shape.in.width);
  with_image_layer(shape, [&](auto layer) {
    using Layer = decltype(layer);
    using Divided = Division<Layer::kChannels>;
    constexpr size_t kTileBytes = ImageTile<Layer::kChannels, Layer::kSide>::kBytes +
                                  PixelTile<Layer::kChannels, Layer::kSide>::kBytes;
    constexpr size_t kTotalBytes = sizeof(float) * Divided::kOuts * kTaps * Layer::kChannels;
    SCULPT_LAUNCH(image_weight_grads<Layer>,
                  dim3(static_cast<unsigned>(splits.count), Divided::kBlocks), dim3(kThreadsHere),
                  std::max(kTileBytes, kTotalBytes), args.launch.stream, grad);
  });
}

}  // namespace sculpt::kernels::cuda
