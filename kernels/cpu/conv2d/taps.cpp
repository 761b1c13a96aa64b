// Dense convolution with x in cache and weights streamed. A thread takes a few pixels and a segment
// of input channels whose cells stay in cache, and computes all output channels there in register
// blocks of kPixels x kOuts sums. One broadcast weight (4 bytes) then feeds kPixels multiply-adds
// of a whole register. Any cache level can deliver weights at this rate, so weights are read in
// place.

#include "kernels/cpu/conv2d/taps.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

// Size of the register block. 32 registers hold 4 x 4 sums, 4 weights and a cell; 16 registers hold
// half of the sums.
constexpr int kOuts = 4;
constexpr int kPixels = kVecWidth == 16 ? 4 : 2;
// A single output channel (depthwise) needs more pixels to keep the multipliers busy.
constexpr int kLonePixels = 8;
// The number of pixels that share one pass over a channel segment.
constexpr int kTilePixels = 8;
// Bytes of input cells of one segment. This is more than L1 holds: L2 is fast enough for cells, and
// with longer segments the sums are loaded and stored less often.
constexpr int64_t kSegmentBytes = 48 * 1024;
// The number of taps of one pass. Larger windows take several passes.
constexpr int64_t kMaxTaps = 64;
// Planes with at most this many pixels are computed for all batch blocks together, so that a zone
// of one pixel per plane still fills a register block.
constexpr int64_t kSmallPlane = 64;

struct Tap {
  int64_t x = 0;
  int64_t w = 0;
};

struct TileArgs {
  const float* x = nullptr;  ///< at the first channel of the segment, in the group
  float* y = nullptr;        ///< at the first output channel, in the group
  const float* weight = nullptr;
  const float* bias = nullptr;  ///< at the first output channel, or null
  const int64_t* x_pixel = nullptr;
  const int64_t* y_pixel = nullptr;
  const Tap* taps = nullptr;
  int64_t tap_count = 0;
  int64_t channels = 0;
  bool load_y = false;
};

template <int Pixels, int Outs>
void run_tile(const TapConv& conv, const TileArgs& args) {
  const int64_t y_channel = conv.y_stride.channel;
  const int64_t weight_out = conv.weight_out;
  for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
    Vec sum[Pixels][Outs];
    for (int p = 0; p < Pixels; ++p)
      for (int o = 0; o < Outs; ++o) {
        const float* y = args.y + o * y_channel + args.y_pixel[p] + lane;
        sum[p][o] = args.load_y ? load(y) : args.bias ? broadcast(args.bias[o]) : Vec{};
      }

    const float* pixel[Pixels];
    for (int p = 0; p < Pixels; ++p)
      pixel[p] = args.x + args.x_pixel[p] + lane;
    const float* weight = args.weight;
    int64_t channel = 0;
    for (int64_t c = 0; c < args.channels; ++c) {
      // Prefetches the weights of the next output channels. Transposed weights are too far apart
      // for the hardware to prefetch them.
      for (int o = 0; o < Outs; ++o)
        __builtin_prefetch(weight + (Outs + o) * weight_out);
      for (int64_t t = 0; t < args.tap_count; ++t) {
        const float* w = weight + args.taps[t].w;
        const int64_t offset = channel + args.taps[t].x;
        Vec factor[Outs];
        for (int o = 0; o < Outs; ++o)
          factor[o] = broadcast(w[o * weight_out]);
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
        store(args.y + o * y_channel + args.y_pixel[p] + lane, sum[p][o]);
  }
}

using TileFunction = void (*)(const TapConv&, const TileArgs&);

template <int Outs, size_t... Pixels>
constexpr std::array<TileFunction, sizeof...(Pixels)> tiles_of(std::index_sequence<Pixels...>) {
  return {run_tile<static_cast<int>(Pixels) + 1, Outs>...};
}

/// Returns the tile functions, indexed by pixel count - 1.
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

/// The partition of the work. Only out_splits and split_outs depend on the thread count, and no sum
/// depends on these two.
struct Plan {
  explicit Plan(const TapConv& conv);

  int64_t batch_blocks = 1;  ///< batch blocks whose pixels may share a tile
  int64_t out_splits = 1;
  int64_t split_outs = 0;
};

Plan::Plan(const TapConv& conv) {
  int64_t rows = 0;
  int64_t columns = 0;
  for (int64_t i = 0; i < conv.rows.count; ++i)
    rows += conv.rows.zones[i].count;
  for (int64_t j = 0; j < conv.columns.count; ++j)
    columns += conv.columns.zones[j].count;
  if (rows * columns <= kSmallPlane) batch_blocks = conv.blocks;

  const int64_t outs = ceil_div(conv.out_channels, kOuts);
  const int64_t tiles = ceil_div(rows * columns * conv.blocks, kTilePixels) * conv.groups;
  const int64_t wanted = thread_count() > 1 ? ceil_div(8 * thread_count(), tiles) : 1;
  split_outs = ceil_div(outs, std::min(outs, wanted)) * kOuts;
  out_splits = ceil_div(conv.out_channels, split_outs);
}

/// A few pixels of one zone of the plane. They share their taps.
struct PixelTile {
  int64_t x[kTilePixels];
  int64_t y[kTilePixels];
  int64_t count = 0;
};

PixelTile pixel_tile(const TapConv& conv, const Zone& rows, const Zone& columns, int64_t tile,
                     int64_t first_block, int64_t blocks) {
  PixelTile pixels;
  const int64_t plane = rows.count * columns.count;
  const int64_t index = tile * kTilePixels;
  pixels.count = std::min<int64_t>(kTilePixels, plane * blocks - index);
  int64_t block = index / plane;
  int64_t row = index % plane / columns.count;
  int64_t column = index % plane % columns.count;
  for (int64_t i = 0; i < pixels.count; ++i) {
    pixels.x[i] = (first_block + block) * conv.x_stride.block + rows.x + row * rows.x_step +
                  columns.x + column * columns.x_step;
    pixels.y[i] = (first_block + block) * conv.y_stride.block + rows.y + row * rows.y_step +
                  columns.y + column * columns.y_step;
    if (++column == columns.count) {
      column = 0;
      if (++row == rows.count) {
        row = 0;
        ++block;
      }
    }
  }
  return pixels;
}

/// Holds at most kMaxTaps taps of a zone's window.
struct Window {
  Window(const TapConv& conv, const Zone& rows, const Zone& columns, int64_t begin);

  Tap taps[kMaxTaps];
  int64_t count = 0;
  int64_t segment = 1;  ///< input channels whose cells, read by one tile, stay in cache
  bool first = true;    ///< whether these are the first taps of the window
};

Window::Window(const TapConv& conv, const Zone& rows, const Zone& columns, int64_t begin)
    : first(begin == 0) {
  count = std::min(kMaxTaps, rows.tap_count * columns.tap_count - begin);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = (begin + i) / columns.tap_count;
    const int64_t column = (begin + i) % columns.tap_count;
    taps[i] = {.x = row * rows.tap_step + column * columns.tap_step,
               .w = rows.w + row * rows.w_step + columns.w + column * columns.w_step};
  }
  int64_t cells = kTilePixels * rows.tap_count * columns.tap_count;
  if (columns.count >= kTilePixels) {
    const int64_t stride = columns.x_step / std::max(kLanes, columns.tap_step);
    cells = std::min(cells, rows.tap_count * (columns.tap_count + (kTilePixels - 1) * stride));
  }
  const int64_t fit =
      std::max<int64_t>(4, kSegmentBytes / (std::max<int64_t>(1, cells) * kLanes * 4));
  segment = ceil_div(conv.in_channels, ceil_div(conv.in_channels, fit));
}

/// Computes all pixels of one tile for output channels [out_begin, out_end) of a group.
void run_outs(const TapConv& conv, const Window& window, const PixelTile& pixels, int64_t group,
              int64_t out_begin, int64_t out_end) {
  const float* x = conv.x + group * conv.x_stride.group;
  float* y = conv.y + group * conv.y_stride.group;
  const float* weight = conv.weight + group * conv.weight_group;
  // Outputs that read no input have no taps. There is nothing to sum, but y must still be written.
  const int64_t in_channels = window.count == 0 ? 1 : conv.in_channels;
  TileArgs args;
  args.taps = window.taps;
  args.tap_count = window.count;
  for (int64_t c = 0; c < in_channels; c += window.segment) {
    args.x = x + c * conv.x_stride.channel;
    args.channels = std::min(window.segment, in_channels - c);
    args.load_y = !window.first || c > 0 || conv.accumulate;
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

/// A zone of the planes of some batch blocks, and the output channels to compute there.
struct ZoneWork {
  const Zone& rows;
  const Zone& columns;
  int64_t block = 0;
  int64_t blocks = 0;
  int64_t group = 0;
  int64_t split = 0;

  int64_t tiles() const { return ceil_div(rows.count * columns.count * blocks, kTilePixels); }
  /// Roughly proportional to the work of one tile.
  int64_t tile_cost() const { return 1 + rows.tap_count * columns.tap_count; }
};

/// Calls visit(ZoneWork) for all parts of the work, in a fixed order.
template <class Visit>
void for_each_zone(const TapConv& conv, const Plan& plan, const Visit& visit) {
  for (int64_t block = 0; block < conv.blocks; block += plan.batch_blocks)
    for (int64_t group = 0; group < conv.groups; ++group)
      for (int64_t split = 0; split < plan.out_splits; ++split)
        for (int64_t i = 0; i < conv.rows.count; ++i)
          for (int64_t j = 0; j < conv.columns.count; ++j)
            visit(ZoneWork{conv.rows.zones[i], conv.columns.zones[j], block,
                           std::min(plan.batch_blocks, conv.blocks - block), group, split});
}

/// Computes tiles [first, last) of a zone.
void run_zone(const TapConv& conv, const Plan& plan, const ZoneWork& work, int64_t first,
              int64_t last) {
  const int64_t out_begin = work.split * plan.split_outs;
  const int64_t out_end = std::min(conv.out_channels, out_begin + plan.split_outs);
  const int64_t all_taps = work.rows.tap_count * work.columns.tap_count;
  for (int64_t t = 0; t == 0 || t < all_taps; t += kMaxTaps) {
    const Window window(conv, work.rows, work.columns, t);
    for (int64_t tile = first; tile < last; ++tile)
      run_outs(conv, window,
               pixel_tile(conv, work.rows, work.columns, tile, work.block, work.blocks), work.group,
               out_begin, out_end);
  }
}

/// If all tiles are laid end to end, each with the length tile_cost(), runs the tiles that start in
/// [begin, end).
void run_share(const TapConv& conv, const Plan& plan, int64_t begin, int64_t end) {
  int64_t at = 0;
  for_each_zone(conv, plan, [&](const ZoneWork& work) {
    const int64_t tiles = work.tiles();
    const int64_t cost = work.tile_cost();
    auto tile_at = [&](int64_t position) {
      return std::min(tiles, ceil_div(std::max<int64_t>(0, position - at), cost));
    };
    const int64_t first = tile_at(begin);
    const int64_t last = tile_at(end);
    at += tiles * cost;
    if (first < last) run_zone(conv, plan, work, first, last);
  });
}

}  // namespace

void tap_conv(const TapConv& conv) {
  if (conv.blocks * conv.groups * conv.out_channels * conv.rows.count * conv.columns.count == 0)
    return;
  const Plan plan(conv);
  int64_t cost = 0;
  for_each_zone(conv, plan, [&](const ZoneWork& work) { cost += work.tiles() * work.tile_cost(); });
  parallel_for(cost, [&](int64_t begin, int64_t end, int) { run_share(conv, plan, begin, end); });
}

}  // namespace SCULPT_ISA_NAMESPACE
