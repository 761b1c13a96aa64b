// Dense convolution, x in L1 and weights streamed: a thread takes a few pixels of one batch block
// and a segment of input channels whose cells fit L1, and runs all output channels over them in
// register blocks of kPixels x kOuts. A weight costs 4 bytes per kPixels * kOuts / kOuts
// multiply-adds of a whole vector, which any cache level can deliver.

#include "kernels/cpu/conv2d_taps.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

// Register block. 32 registers hold 4 x 4 sums, 4 weights and a cell; 16 registers half of that.
constexpr int kOuts = 4;
constexpr int kPixels = kVecWidth == 16 ? 4 : 2;
// A lone output channel (depthwise) needs more pixels to keep the multipliers busy.
constexpr int kLonePixels = 8;
// Register tiles that share one pass over a channel segment.
constexpr int kTilePixels = 8;
constexpr int64_t kSegmentBytes = 20 * 1024;

struct Segment {
  int64_t begin = 0;
  int64_t count = 0;
  bool first = false;
};

struct TileArgs {
  const float* x = nullptr;  ///< block, group and first channel of the segment
  float* y = nullptr;        ///< block, group and first output channel
  const float* weight = nullptr;
  const float* bias = nullptr;  ///< of the first output channel, null if none or not first segment
  const int64_t* x_pixel = nullptr;
  const int64_t* y_pixel = nullptr;
  int64_t channels = 0;
  bool load_y = false;
};

template <int Pixels, int Outs>
void run_tile(const TapConv& conv, const TileArgs& args) {
  for (int part = 0; part < kVecsPerCell; ++part) {
    const int64_t lane = part * kVecWidth;
    Vec sum[Pixels][Outs];
    for (int p = 0; p < Pixels; ++p)
      for (int o = 0; o < Outs; ++o) {
        const float* y = args.y + o * conv.y_stride.channel + args.y_pixel[p] + lane;
        sum[p][o] = args.load_y ? load(y) : args.bias ? broadcast(args.bias[o]) : Vec{};
      }

    const float* pixel[Pixels];
    for (int p = 0; p < Pixels; ++p)
      pixel[p] = args.x + args.x_pixel[p] + lane;
    const float* weight = args.weight;
    int64_t channel = 0;
    for (int64_t c = 0; c < args.channels; ++c) {
      for (int64_t t = 0; t < conv.tap_count; ++t) {
        const float* w = weight + conv.taps[t].w;
        const int64_t offset = channel + conv.taps[t].x;
        Vec factor[Outs];
        for (int o = 0; o < Outs; ++o)
          factor[o] = broadcast(w[o * conv.weight_out]);
        for (int p = 0; p < Pixels; ++p) {
          const Vec cell = load(pixel[p] + offset);
          for (int o = 0; o < Outs; ++o)
            sum[p][o] += cell * factor[o];
        }
      }
      channel += conv.x_stride.channel;
      weight += conv.weight_in;
    }

    for (int p = 0; p < Pixels; ++p)
      for (int o = 0; o < Outs; ++o)
        store(args.y + o * conv.y_stride.channel + args.y_pixel[p] + lane, sum[p][o]);
  }
}

using TileFunction = void (*)(const TapConv&, const TileArgs&);

template <int Outs, size_t... Pixels>
constexpr std::array<TileFunction, sizeof...(Pixels)> tiles_of(std::index_sequence<Pixels...>) {
  return {run_tile<static_cast<int>(Pixels) + 1, Outs>...};
}

/// Tile functions by pixel count - 1.
const TileFunction* tile_functions(int64_t outs) {
  using Full = std::make_index_sequence<kPixels>;
  static constexpr auto kOne = tiles_of<1>(std::make_index_sequence<kLonePixels>{});
  static constexpr auto kTwo = tiles_of<2>(Full{});
  static constexpr auto kThree = tiles_of<3>(Full{});
  static constexpr auto kFour = tiles_of<4>(Full{});
  switch (outs) {
    case 1:
      return kOne.data();
    case 2:
      return kTwo.data();
    case 3:
      return kThree.data();
    default:
      return kFour.data();
  }
}

/// Offsets of up to kTilePixels output pixels.
struct PixelTile {
  int64_t x[kTilePixels];
  int64_t y[kTilePixels];
  int64_t count = 0;
};

/// How the work is cut up. Only out_splits depends on the thread count, and no sum depends on it.
struct Plan {
  bool two_rows = false;  ///< tiles of 2 x 4 pixels instead of 8 in a row: a smaller halo
  int64_t tiles = 0;
  int64_t segment_channels = 1;
  int64_t out_splits = 1;
  int64_t split_outs = 0;
};

Plan make_plan(const TapConv& conv) {
  Plan plan;
  plan.two_rows = conv.columns % 4 == 0 && conv.rows % 2 == 0;
  plan.tiles = ceil_div(conv.rows * conv.columns, kTilePixels);

  const int64_t pixel_step = conv.x_stride.column / kLanes;
  const int64_t window = conv.reach_h * conv.reach_w;
  const int64_t row_cells = conv.reach_w + (plan.two_rows ? 3 : 7) * pixel_step;
  const int64_t cells =
      std::min(kTilePixels * window, row_cells * (conv.reach_h + (plan.two_rows ? pixel_step : 0)));
  const int64_t fit = std::max<int64_t>(4, kSegmentBytes / (cells * kLanes * 4));
  const int64_t segments = ceil_div(conv.in_channels, fit);
  plan.segment_channels = std::max<int64_t>(1, ceil_div(conv.in_channels, segments));

  const int64_t outs = ceil_div(conv.out_channels, kOuts);
  const int64_t items = conv.blocks * conv.groups * plan.tiles;
  const int64_t wanted = thread_count() > 1 ? ceil_div(8 * thread_count(), items) : 1;
  plan.split_outs = ceil_div(outs, std::min(outs, wanted)) * kOuts;
  plan.out_splits = ceil_div(conv.out_channels, plan.split_outs);
  return plan;
}

PixelTile pixel_tile(const TapConv& conv, const Plan& plan, int64_t tile) {
  PixelTile pixels;
  const int64_t total = conv.rows * conv.columns;
  pixels.count = std::min<int64_t>(kTilePixels, total - tile * kTilePixels);
  for (int64_t i = 0; i < pixels.count; ++i) {
    const int64_t index = tile * kTilePixels + i;
    int64_t row = index / conv.columns;
    int64_t column = index % conv.columns;
    if (plan.two_rows) {
      const int64_t per_band = conv.columns / 4;
      row = tile / per_band * 2 + i / 4;
      column = tile % per_band * 4 + i % 4;
    }
    pixels.x[i] = row * conv.x_stride.row + column * conv.x_stride.column;
    pixels.y[i] = row * conv.y_stride.row + column * conv.y_stride.column;
  }
  return pixels;
}

/// All of one tile's pixels for output channels [out_begin, out_end) of a group.
void run_outs(const TapConv& conv, const Plan& plan, int64_t block, int64_t group,
              int64_t out_begin, int64_t out_end, const PixelTile& pixels) {
  const float* x = conv.x + block * conv.x_stride.block + group * conv.x_stride.group;
  float* y = conv.y + block * conv.y_stride.block + group * conv.y_stride.group;
  const float* weight = conv.weight + group * conv.weight_group;
  // Runs once without input channels or taps too: outputs that nothing reaches are written.
  for (int64_t c = 0; c == 0 || c < conv.in_channels; c += plan.segment_channels) {
    TileArgs args;
    args.x = x + c * conv.x_stride.channel;
    args.channels = std::min(plan.segment_channels, conv.in_channels - c);
    args.load_y = c > 0 || conv.accumulate;
    for (int64_t o = out_begin; o < out_end; o += kOuts) {
      const int64_t outs = std::min<int64_t>(kOuts, out_end - o);
      const int64_t step = outs == 1 ? kLonePixels : kPixels;
      const TileFunction* functions = tile_functions(outs);
      args.y = y + o * conv.y_stride.channel;
      args.weight = weight + o * conv.weight_out + c * conv.weight_in;
      args.bias = conv.bias ? conv.bias + group * conv.out_channels + o : nullptr;
      for (int64_t p = 0; p < pixels.count; p += step) {
        args.x_pixel = pixels.x + p;
        args.y_pixel = pixels.y + p;
        functions[std::min(step, pixels.count - p) - 1](conv, args);
      }
    }
  }
}

}  // namespace

void tap_conv(const TapConv& conv) {
  if (conv.blocks * conv.groups * conv.out_channels * conv.rows * conv.columns == 0) return;
  const Plan plan = make_plan(conv);
  const int64_t per_group = plan.out_splits * plan.tiles;
  parallel_for(conv.blocks * conv.groups * per_group, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t tile = item % plan.tiles;
      const int64_t split = item / plan.tiles % plan.out_splits;
      const int64_t group = item / per_group % conv.groups;
      const int64_t block = item / per_group / conv.groups;
      const int64_t out_begin = split * plan.split_outs;
      const int64_t out_end = std::min(conv.out_channels, out_begin + plan.split_outs);
      run_outs(conv, plan, block, group, out_begin, out_end, pixel_tile(conv, plan, tile));
    }
  });
}

}  // namespace SCULPT_ISA_NAMESPACE
