// The backward pass of a convolution of whole images and of the batch norm behind it. A block walks
// over images. For each of them it computes the gradient of the convolution's output, dc, and keeps
// it in shared memory beside the convolution's input x. Then its warps compute the gradient of x
// from dc and the weight, and add up the gradient of the weight from dc and x. If the batch norm
// before the convolution has not written x, the block normalises the input of that batch norm.
//
// Work: 4 * macs * batch FLOPs. dy, the convolution's output c, x and dx pass through memory once
// (dx twice if it is accumulated). So do y, if the gate is read from it, dresidual (twice if it is
// accumulated), and, for the sums of dx, the input of the batch norm that computed x. A partial
// weight gradient per split of the batch is written, and read once by the kernel that adds up the
// splits.

#include "kernels/cuda/batch_norm/gradient_map.h"
#include "kernels/cuda/conv2d/image/image_layers.h"
#include "kernels/cuda/conv2d/image/normalise.h"
#include "kernels/cuda/conv2d/image/weight_sums.h"
#include "kernels/cuda/conv2d/passes.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreadsHere = kWarps * kWarp;

/// The arguments of the kernel.
struct NormBackward {
  bf16* dx;         ///< null: it is not wanted
  float* partials;  ///< [split][o][r][s][c]
  const bf16* x;
  NormalisedImages normalised;  ///< x, if batch norm has not written it
  const bf16* weight;           ///< [o][r][s][c]
  // The gradient dc is computed from these. `gate_values` is the output of batch norm, or null.
  Gate gate;
  const bf16* dy;
  const bf16* c;
  const bf16* gate_values;
  bf16* dresidual;  ///< null: it is not wanted
  Affine affine;
  GradientTerms terms;
  // The sums of dx. They are wanted if `sums` is not null.
  SumPair* sums;      ///< [channel][split]
  const bf16* below;  ///< the input of the batch norm that computed x
  const float* below_mean;
  int images, split_images, height, width;
  FastDivide by_width;
  bool accumulate_dx, accumulate_dresidual;

  __device__ int pixels() const { return height * width; }
};

/// The constants of batch norm's gradient map. The first three are those of NormaliseConstants.
template <int kChannels>
struct MapConstants {
  static constexpr int kBytes = NormaliseConstants<kChannels>::kBytes + 2 * kChannels * 4;

  NormaliseConstants<kChannels> of_map;
  ChannelConstants<kChannels, 2> of_sums;

  /// Thread c puts the constants of channel c.
  __device__ void put(const NormBackward& p) const {
    of_map.put(p.affine);
    const int c = static_cast<int>(threadIdx.x);
    if (c >= kChannels) return;
    const GradientMap<1> map(p.affine, p.terms, c);
    const float constants[2] = {map.mean_g[0], map.slope[0]};
    of_sums.put(c, constants);
  }
  __device__ __forceinline__ GradientMap<4> map(int channel) const {
    GradientMap<4> map;
    map.map = of_map.map(channel);
    of_sums.load(map.mean_g, 0, channel);
    of_sums.load(map.slope, 1, channel);
    return map;
  }
};

/// The weights from all output channels to the input channels of a block, in shared memory:
/// [o][tap][c]. Of each 16 input channels, the pairs lie in the order in which channel_of() names
/// them. Rows are padded, so that the 8 rows that ldmatrix reads lie in different banks.
template <int kChannels, int kOwn>
struct WeightTile {
  static constexpr int kRowBytes = kTaps * kOwn * static_cast<int>(sizeof(bf16)) + kVectorBytes;
  static constexpr int kBytes = kChannels * kRowBytes;

  unsigned char* data;

  /// Copies the weights. `first` is the block's first input channel.
  __device__ __forceinline__ void copy(const bf16* weight, int first) const {
    constexpr int kVectors = kOwn / 8;  // of 8 channels, of a row and tap
    const bool aligned = reinterpret_cast<uintptr_t>(weight) % kVectorBytes == 0;
    for (int i = static_cast<int>(threadIdx.x); i < kChannels * kTaps * kVectors;
         i += kThreadsHere) {
      const int row = i / kVectors, vector = i % kVectors;  // row = o * kTaps + tap
      const bf16* const from = weight + row * kChannels + first + vector * 8;
      Pack<bf16, 8> eight;
      if (aligned)
        eight = load_pack<8>(from);
      else
        for (int e = 0; e < 8; ++e)
          eight.at[e] = from[e];
      // Pair w of the group, which is channels 2 w and 2 w + 1, has place w % 2 * 4 + w / 2.
      unsigned char* const to = data + row / kTaps * kRowBytes +
                                (row % kTaps * kOwn + vector / 2 * kGroup) * int{sizeof(bf16)} +
                                vector % 2 * 8;
      for (int odd = 0; odd < 2; ++odd)
        store_pack(reinterpret_cast<bf16*>(to + odd * 16),
                   Pack<bf16, 4>{{eight.at[2 * odd], eight.at[2 * odd + 1], eight.at[2 * odd + 4],
                                  eight.at[2 * odd + 5]}});
    }
  }
  /// Returns the row of ldmatrix for output channels from 16 * step on and the group's input
  /// channels. Lanes 0 to 15 name the rows of the first product.
  __device__ __forceinline__ const unsigned char* row(int step, int group, int lane) const {
    return data + (step * 16 + lane % 16) * kRowBytes + group * kGroup * int{sizeof(bf16)} +
           lane / 16 * kVectorBytes;
  }
  static __device__ constexpr int tap_bytes(int tap) {
    return tap * kOwn * static_cast<int>(sizeof(bf16));
  }
};

/// Fills both tiles with an image. x is copied asynchronously, or computed by normalising. dc is
/// computed. dresidual is written if `write_residual` is true. Thread t takes vector t % kPlanes of
/// every kStep-th pixel. It loads the constants of four channels at a time, because the sums of the
/// weight's gradient occupy most of its registers.
template <class Tile, int kChannels>
__device__ __forceinline__ void load_image(const Tile& x_tile, const Tile& dc_tile,
                                           const NormBackward& p,
                                           const MapConstants<kChannels>& constants,
                                           const NormaliseConstants<kChannels>& x_constants,
                                           int64_t image_offset, bool write_residual) {
  constexpr int kStep = kThreadsHere / Tile::kPlanes;
  const int thread = static_cast<int>(threadIdx.x);
  const int plane = thread % Tile::kPlanes;
  SCULPT_UNROLL_BY(1)
  for (int pixel = thread / Tile::kPlanes; pixel < p.pixels(); pixel += kStep) {
    const int64_t offset = image_offset + pixel * kChannels + plane * 8;
    const int row = p.by_width.quotient(pixel), column = p.by_width.remainder(pixel, row);
    unsigned char* const to = dc_tile.window(row + 1, column + 1) + plane * Tile::kPlaneBytes;
    unsigned char* const x_to = to + (x_tile.data - dc_tile.data);
    if (p.normalised.x != nullptr)
      put_normalised(x_to, load_pack<8>(p.normalised.x + offset), p.normalised.relu, x_constants,
                     plane * 8);
    else
      cp_async_16(x_to, p.x + offset, true);
    const Pack<bf16, 8> c = load_pack<8>(p.c + offset), dy = load_pack<8>(p.dy + offset);
    Pack<bf16, 8> y = {};
    if (p.gate == Gate::from_y) y = load_pack<8>(p.gate_values + offset);
    SCULPT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const GradientMap<4> map = constants.map(plane * 8 + half * 4);
      const Floats<4> x = half_of(c, half);
      const Floats<4> g = gated(p.gate, half_of(dy, half), half_of(y, half), x, map.map);
      Floats<4> dc;
      SCULPT_UNROLL
      for (int i = 0; i < 4; ++i)
        dc.at[i] = map.dx(i, g.at[i], x.at[i]);
      store_floats(reinterpret_cast<bf16*>(to) + half * 4, dc);
      if (write_residual) write_floats(p.dresidual + offset + half * 4, g, p.accumulate_dresidual);
    }
  }
}

/// The sums of dx over the pixels that a lane has written of four channels, where x is positive.
struct LaneGradientSums {
  Floats<4> mean;
  float sum[4], product[4];

  __device__ __forceinline__ void add(const Stored& dx, const Floats<4>& x,
                                      const Floats<4>& below) {
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float g = x.at[i] > 0 ? dx.at(i) : 0;
      sum[i] += g;
      product[i] = fmaf(g, below.at[i] - mean.at[i], product[i]);
    }
  }
  /// Returns what sum_over_lanes() returns.
  __device__ __forceinline__ double over_lanes(int lane) const {
    double totals[8];
    SCULPT_UNROLL
    for (int i = 0; i < 4; ++i) {
      totals[2 * i] = static_cast<double>(sum[i]);
      totals[2 * i + 1] = static_cast<double>(product[i]);
    }
    return sum_over_lanes(totals, lane);
  }
};

/// The layout of a block's shared memory. Blocks along y divide the output channels of the weight's
/// gradient, and the input channels of dx.
template <class Layer>
struct Shared {
  static constexpr int kChannels = Layer::kChannels;
  using Divided = WeightDivision<kChannels, kWarps>;
  static constexpr int kOwn = Divided::kOuts;               // channels of dx of a block
  static constexpr int kOwnGroups = Divided::kOutGroups;    // of 16
  static constexpr int kPixelShares = kWarps / kOwnGroups;  // warps that share the pixels of dx
  using Tile = ImageTile<kChannels, Layer::kSide>;
  using Weights = WeightTile<kChannels, kOwn>;
  using Constants = MapConstants<kChannels>;
  using XConstants = NormaliseConstants<kChannels>;
  using Sums = ImageSums<kOwn, kPixelShares, kThreadsHere>;

  static constexpr size_t kReadBytes =
      2 * Tile::kBytes + Weights::kBytes + Constants::kBytes + XConstants::kBytes;
  // The sums of the weight's gradient overwrite all but the sums of dx.
  static constexpr size_t kSumsAt =
      ceil_div(static_cast<int64_t>(std::max(kReadBytes, Divided::kTotalBytes)), 16) * 16;
  static constexpr size_t kBytes = kSumsAt + Sums::kImageBytes;

  unsigned char* data;

  __device__ Tile dc() const { return {data}; }
  __device__ Tile x() const { return {data + Tile::kBytes}; }
  __device__ Weights weights() const { return {data + 2 * Tile::kBytes}; }
  __device__ Constants constants() const {
    auto* const first = reinterpret_cast<float*>(data + 2 * Tile::kBytes + Weights::kBytes);
    return {{{first}}, {first + 3 * kChannels}};
  }
  __device__ XConstants x_constants() const {
    return {
        {reinterpret_cast<float*>(data + 2 * Tile::kBytes + Weights::kBytes + Constants::kBytes)}};
  }
  __device__ Sums sums() const { return {reinterpret_cast<double*>(data + kSumsAt)}; }
};

template <class Layer>
__global__ void __launch_bounds__(kThreadsHere, 2) norm_backward_on_images(const NormBackward p) {
  follow_previous_kernels();
  using S = Shared<Layer>;
  using Tile = typename S::Tile;
  using Weights = typename S::Weights;
  constexpr int kChannels = Layer::kChannels, kSteps = kChannels / 16;
  constexpr int kUnits = kChannels <= 32 ? 2 : 1;  // units of pixels that a warp takes at a time
  SCULPT_DYNAMIC_SHARED(unsigned char, memory);
  const S shared{memory};
  const Tile dc = shared.dc(), x_tile = shared.x();

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_own = static_cast<int>(blockIdx.y) * S::kOwn;
  const int first_image = static_cast<int>(blockIdx.x) * p.split_images;
  const int end_image = min(first_image + p.split_images, p.images);
  const int pixels = p.pixels();
  // The warp's part of dx: a group of channels and a share of the pixels.
  const int group = warp % S::kOwnGroups, share = warp / S::kOwnGroups;
  const int channel = first_own + group * kGroup + lane % 4 * 4;  // the first of the lane's four
  // The warp's part of the weight's gradient, and the planes of the vectors that the lane names
  // (add_products()).
  const WeightPlace<typename S::Divided> at(warp);
  const int dc_plane = (first_own + at.out_group * kGroup) / 8 + lane / 8 % 2;
  const int x_plane = at.in_group * 2 + lane / 8 % 2;

  // A block writes dresidual for its own channels of dx, because the two may be the same array: the
  // convolution's input may also be the residual.
  const int vector_channel = static_cast<int>(threadIdx.x) % Tile::kPlanes * 8;
  const bool writes_residual =
      p.dresidual != nullptr && vector_channel >= first_own && vector_channel < first_own + S::kOwn;

  // Every image overwrites the same pixels of the tiles, so their borders stay zeros.
  fill_with_zeros<kThreadsHere>(memory, 2 * Tile::kBytes);
  shared.constants().put(p);
  if (p.normalised.x != nullptr) shared.x_constants().put(p.normalised.affine);
  shared.weights().copy(p.weight, first_own);
  WarpSums acc = {};
  for (int image = first_image; image < end_image; ++image) {
    __syncthreads();  // memory is prepared, and all threads have left the image before
    const int64_t offset = static_cast<int64_t>(image) * pixels * kChannels;
    load_image(x_tile, dc, p, shared.constants(), shared.x_constants(), offset, writes_residual);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();  // all threads see the image's x and dc

    if (p.dx != nullptr) {
      LaneGradientSums lane_sums = {};
      if (p.sums != nullptr) lane_sums.mean = load_floats<4>(p.below_mean + channel);
      for (int unit = share * kUnits; unit * kUnitPixels < pixels;
           unit += S::kPixelShares * kUnits) {
        float sum[kUnits][2][4] = {};
        const unsigned char* from[kUnits];
        SCULPT_UNROLL
        for (int u = 0; u < kUnits; ++u) {
          const int index = (unit + u) * kUnitPixels + lane % 16;
          const int pixel =
              index < pixels ? index : 0;  // what a missing pixel gives is not written
          const int y = p.by_width.quotient(pixel);
          from[u] = dc.window(y, p.by_width.remainder(pixel, y)) + lane / 16 * Tile::kPlaneBytes;
        }
        SCULPT_UNROLL
        for (int tap = 0; tap < kTaps; ++tap)
          SCULPT_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          // The window is turned by 180 degrees.
          uint32_t w[4];
          ldmatrix_x4_trans(
              w, shared.weights().row(step, group, lane) + Weights::tap_bytes(kTaps - 1 - tap));
          SCULPT_UNROLL
          for (int u = 0; u < kUnits; ++u) {
            uint32_t a[4];
            ldmatrix_x4(a,
                        from[u] + Tile::tap_bytes(tap / 3, tap % 3) + step * 2 * Tile::kPlaneBytes);
            SCULPT_UNROLL
            for (int n = 0; n < 2; ++n) {
              const uint32_t b[2] = {w[2 * n], w[2 * n + 1]};
              mma_bf16_16816(sum[u][n], a, b);
            }
          }
        }
        SCULPT_UNROLL
        for (int u = 0; u < kUnits; ++u)
          write_unit(p.dx + offset + channel, sum[u], (unit + u) * kUnitPixels, pixels, kChannels,
                     p.accumulate_dx, lane, [&](int, int pixel, const Stored& stored) {
                       if (p.sums == nullptr) return;
                       const int y = p.by_width.quotient(pixel);
                       const unsigned char* const x_at =
                           x_tile.window(y + 1, p.by_width.remainder(pixel, y) + 1) +
                           channel / 8 * Tile::kPlaneBytes + channel % 8 * int{sizeof(bf16)};
                       lane_sums.add(
                           stored, load_floats<4>(reinterpret_cast<const bf16*>(x_at)),
                           load_floats<4>(p.below + offset + pixel * kChannels + channel));
                     });
      }
      if (p.sums != nullptr)
        shared.sums().put(0, share, group * kGroup + lane % 4 * 4, lane_sums.over_lanes(lane), lane,
                          image > first_image);
    }

    for (int unit = at.share; unit * kUnitPixels < pixels; unit += S::Divided::kShares) {
      const int index = unit * kUnitPixels + lane / 16 * 8 + lane % 8;
      const bool missing = index >= pixels;  // dc is zero there, as in the corner of the border
      const int pixel = missing ? 0 : index;
      const int y = p.by_width.quotient(pixel), x = p.by_width.remainder(pixel, y);
      const unsigned char* const dc_at = missing ? dc.window(0, 0) : dc.window(y + 1, x + 1);
      add_products<Tile>(acc, dc_at + dc_plane * Tile::kPlaneBytes,
                         x_tile.window(y, x) + x_plane * Tile::kPlaneBytes);
    }
  }

  float* const to =
      p.partials + (static_cast<int64_t>(blockIdx.x) * kChannels + first_own) * (kTaps * kChannels);
  write_weight_sums<kChannels, kWarps>(to, acc, memory, at, lane);
  // write_weight_sums() has barriers, so all threads see the sums of all warps.
  if (p.sums != nullptr)
    shared.sums().add_up(p.sums + static_cast<int64_t>(first_own) * gridDim.x, 1,
                         static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x));
}

bool fits(const Conv2dShape& shape) {
  return runs_on_images<bf16>(shape);
}

size_t sums_bytes(const Conv2dShape& shape, int64_t max_batch) {
  return static_cast<size_t>(shape.in.channels * most_image_splits(shape, max_batch)) *
         sizeof(SumPair);
}

void backward(const ConvNormBackward& args, const Conv2dShape& shape) {
  const BatchNormBackward& norm = args.dy->norm;
  const Splits splits = image_splits(shape, args.launch.batch);
  NormBackward p = {};
  p.dx = static_cast<bf16*>(args.dx);
  p.partials = static_cast<float*>(args.workspace);
  p.x = static_cast<const bf16*>(args.x);
  if (args.deferred_x != nullptr) p.normalised = normalised_images(*args.deferred_x);
  p.weight = static_cast<const bf16*>(args.weight);
  p.gate = gate_of(norm);
  p.dy = static_cast<const bf16*>(norm.dy);
  p.c = static_cast<const bf16*>(norm.x);
  p.gate_values = static_cast<const bf16*>(norm.y);
  p.dresidual = static_cast<bf16*>(norm.dresidual);
  p.affine = args.dy->constant_statistics ? running_affine(norm) : saved_affine(norm);
  p.terms = terms_of(norm, args.dy->constant_statistics);
  if (args.sums != nullptr) {
    p.sums = reinterpret_cast<SumPair*>(args.sums->partials);
    p.below = static_cast<const bf16*>(args.sums->x);
    p.below_mean = static_cast<const float*>(args.sums->mean);
    args.sums->chunks = splits.count;
  }
  p.images = static_cast<int>(args.launch.batch);
  p.split_images = static_cast<int>(splits.length);
  p.height = static_cast<int>(shape.in.height);
  p.width = static_cast<int>(shape.in.width);
  p.by_width = FastDivide(shape.in.width);
  p.accumulate_dx = args.write == GradWrite::accumulate;
  p.accumulate_dresidual = norm.write_dresidual == GradWrite::accumulate;
  with_image_layer(shape, [&](auto layer) {
    using S = Shared<decltype(layer)>;
    SCULPT_LAUNCH(norm_backward_on_images<decltype(layer)>,
                  dim3(static_cast<unsigned>(splits.count), S::Divided::kBlocks),
                  dim3(kThreadsHere), S::kBytes, args.launch.stream, p);
  });
  add_weight_partials(args.dweight, p.partials, shape, splits.count, GradWrite::overwrite,
                      args.launch.stream);
}

}  // namespace

ConvNormKernels conv_norm_kernels(Precision precision) {
  if (precision != Precision::bf16) return {};
  return {.fits = fits,
          .forward = image_forward_normalised,
          .backward = backward,
          .sums_bytes = sums_bytes};
}

}  // namespace sculpt::kernels::cuda
