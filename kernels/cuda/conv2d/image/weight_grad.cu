// Convolution of whole images, gradient of the weight. A warp owns 16 output and 16 input channels,
// with all nine taps, whose sums it keeps in registers over the images of its block. Work: 2 * macs
// * batch FLOPs. dy and x pass through memory once. A partial gradient per split of the batch is
// written, and read once by the kernel that adds up the splits.

#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/image/weight_sums.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreadsHere = kWarps * kWarp;

struct ImageWeightGrad {
  float* partials;  ///< [split][o][r][s][c]
  const bf16* dy;
  const bf16* x;
  int images, split_images, height, width;
  FastDivide by_width;
};

template <class Layer>
__global__ void __launch_bounds__(kThreadsHere) image_weight_grads(const ImageWeightGrad grad) {
  follow_previous_kernels();
  constexpr int kChannels = Layer::kChannels;
  using Divided = WeightDivision<kChannels, kWarps>;
  using Tile = ImageTile<kChannels, Layer::kSide>;
  using Pixels = PixelTile<kChannels, Layer::kSide>;
  SCULPT_DYNAMIC_SHARED(unsigned char, shared);
  const Tile x_tile{shared};
  const Pixels dy_tile{shared + Tile::kBytes};

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const WeightPlace<Divided> at(warp);
  const int first_out = static_cast<int>(blockIdx.y) * Divided::kOuts;
  const int first_image = static_cast<int>(blockIdx.x) * grad.split_images;
  const int end_image = min(first_image + grad.split_images, grad.images);
  const int pixels = grad.height * grad.width;
  // The planes of the vectors that the lane names (add_products()).
  const int dy_plane = (first_out + at.out_group * kGroup) / 8 + lane / 8 % 2;
  const int x_plane = at.in_group * 2 + lane / 8 % 2;

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
    for (int unit = at.share; unit * kUnitPixels < pixels; unit += Divided::kShares) {
      const int index = unit * kUnitPixels + lane / 16 * 8 + lane % 8;
      const int pixel = index < pixels ? index : 0;  // dy is zero at a missing pixel
      const int y = grad.by_width.quotient(pixel);
      add_products<Tile>(
          acc, dy_tile.pixel(index) + dy_plane * Pixels::kPlaneBytes,
          x_tile.window(y, grad.by_width.remainder(pixel, y)) + x_plane * Tile::kPlaneBytes);
    }
  }

  float* const to = grad.partials + (static_cast<int64_t>(blockIdx.x) * kChannels + first_out) *
                                        (kTaps * kChannels);
  write_weight_sums<kChannels, kWarps>(to, acc, shared, at, lane);
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
    using Divided = WeightDivision<Layer::kChannels, kWarps>;
    constexpr size_t kTileBytes = ImageTile<Layer::kChannels, Layer::kSide>::kBytes +
                                  PixelTile<Layer::kChannels, Layer::kSide>::kBytes;
    SCULPT_LAUNCH(image_weight_grads<Layer>,
                  dim3(static_cast<unsigned>(splits.count), Divided::kBlocks), dim3(kThreadsHere),
                  std::max(kTileBytes, Divided::kTotalBytes), args.launch.stream, grad);
  });
}

}  // namespace sculpt::kernels::cuda
