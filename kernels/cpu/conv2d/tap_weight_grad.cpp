// The loop nest of weight gradients, as a matrix product: dw [outs x columns] = dy [outs x pixels]
// * x [pixels x columns]. The pixels are those of all images. A column is one pair of an input
// channel and a tap, as in im2col, but x is read in place. For each group:
//
//   for each chunk of pixels               the cells of dy for one tile then fit an L1 cache
//     for each panel of tile columns       the cells of x for one panel then fit an L2 cache
//       for each tile row                  kTileOuts output channels
//         for each tile of the panel       kTileOuts x kTileColumns elements of dw
//           multiply_tile()                adds up the products of the chunk's pixels
//
// A tile keeps its sums in registers, with one partial sum per image lane, while it walks the
// pixels of a chunk; then the lanes are added up. Threads share out the tiles and never the pixels,
// so no reduction across threads is needed, and any thread count gives the same bits.

#include "kernels/cpu/conv2d/tap_weight_grad.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/lane_sums.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

constexpr int kTileOuts = 4;
constexpr int kTileColumns = kVecWidth == 16 ? 6 : 2;
// The dy cells of one tile and one chunk fill an L1 cache (32 KB) while all columns are computed.
constexpr int64_t kChunkPixels = 128;
// Largest plane, in pixels, for which pixels on padding are skipped. Skipping reads input cells
// from L2 once per tap, and larger planes have less padding to skip.
constexpr int64_t kSkipPlane = 256;
// Bytes of the input cells of one panel and one chunk, which stay in L2 while all outputs are
// computed.
constexpr int64_t kPanelBytes = 400 * 1024;

// Largest number of taps for which pixels on padding are skipped. Larger windows multiply the
// halo's zeros instead.
constexpr int64_t kMaxSkipTaps = 9;

/// A stretch of neighbouring pixels in one row: the offsets of its first cells in dy and x, and its
/// length.
struct PixelRun {
  int64_t dy = 0;
  int64_t x = 0;
  int64_t count = 0;
};

/// The pixels of one chunk.
struct PixelRuns {
  std::array<PixelRun, kChunkPixels> run;
  int64_t count = 0;
};

/// Cuts all pixels of all blocks into runs, and the runs into chunks.
class PixelChunks {
 public:
  explicit PixelChunks(const TapWeightGrad& grad)
      : grad_(grad),
        runs_per_row_(ceil_div(grad.columns, kChunkPixels)),
        run_length_(ceil_div(grad.columns, runs_per_row_)),
        runs_per_chunk_(kChunkPixels / run_length_),
        runs_(grad.blocks * grad.rows * runs_per_row_) {}

  int64_t count() const { return ceil_div(runs_, runs_per_chunk_); }

  /// Fills `runs` with the runs of one chunk, restricted to the pixels that the tap can use.
  void fill(int64_t chunk, const GradTap& tap, PixelRuns& runs) const {
    runs.count = 0;
    const int64_t end = std::min(runs_, (chunk + 1) * runs_per_chunk_);
    for (int64_t index = chunk * runs_per_chunk_; index < end; ++index) {
      const int64_t block = index / runs_per_row_ / grad_.rows;
      const int64_t row = index / runs_per_row_ % grad_.rows;
      const int64_t start = index % runs_per_row_ * run_length_;
      const int64_t first = std::max(start, tap.column_begin);
      const int64_t last = std::min({start + run_length_, grad_.columns, tap.column_end});
      if (row < tap.row_begin || row >= tap.row_end || first >= last) continue;
      auto offset = [&](const TapWeightGrad::Strides& s) {
        return block * s.block + row * s.row + first * s.column;
      };
      runs.run[static_cast<size_t>(runs.count++)] = {
          .dy = offset(grad_.dy_stride), .x = offset(grad_.x_stride), .count = last - first};
    }
  }

 private:
  const TapWeightGrad& grad_;
  int64_t runs_per_row_;
  int64_t run_length_;
  int64_t runs_per_chunk_;
  int64_t runs_;
};

/// out[i] = sum of all lanes of sums[i]; out has room for whole registers.
template <int Count>
[[gnu::always_inline]] inline void add_up_all(const Vec* sums, float* out) {
  for (int begin = 0; begin < Count; begin += kVecWidth) {
    Vec group[kVecWidth] = {};
    for (int i = 0; i < kVecWidth && begin + i < Count; ++i)
      group[i] = sums[begin + i];
    store(out + begin, add_up_lanes(group));
  }
}

/// The columns of one tile: the offsets of their input cells and of their elements of dw.
struct TileColumns {
  int64_t x[kTileColumns];
  int64_t dweight[kTileColumns];
  int64_t count = 0;
};

/// One tile.
struct TileArgs {
  const float* dy = nullptr;  ///< at the first output channel of the tile
  const float* x = nullptr;   ///< at the first channel of the group
  TileColumns columns;
  float* dweight = nullptr;  ///< at the elements of the first output channel
  bool add = false;          ///< whether to add to the contents of dweight
};

/// Computes one tile of Outs x Count elements from the pixels of `runs`.
template <int Outs, int Count>
void multiply_tile(const TapWeightGrad& grad, const PixelRuns& runs, const TileArgs& args) {
  Vec sum[Outs * Count] = {};
  const int64_t dy_channel = grad.dy_stride.channel;
  const int64_t dy_step = grad.dy_stride.column;
  const int64_t x_step = grad.x_stride.column;
  for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
    const float* column[Count];
    for (int j = 0; j < Count; ++j)
      column[j] = args.x + args.columns.x[j] + lane;
    const float* dy = args.dy + lane;
    for (int64_t r = 0; r < runs.count; ++r) {
      const PixelRun& run = runs.run[static_cast<size_t>(r)];
      int64_t at_dy = run.dy;
      int64_t at_x = run.x;
      for (int64_t i = 0; i < run.count; ++i) {
        Vec out[Outs];
        for (int o = 0; o < Outs; ++o)
          out[o] = load(dy + o * dy_channel + at_dy);
        for (int j = 0; j < Count; ++j) {
          const Vec cell = load(column[j] + at_x);
          for (int o = 0; o < Outs; ++o)
            sum[o * Count + j] += out[o] * cell;
        }
        at_dy += dy_step;
        at_x += x_step;
      }
    }
  }
  float total[(Outs * Count + kVecWidth - 1) / kVecWidth * kVecWidth];
  add_up_all<Outs * Count>(sum, total);
  const int64_t dweight_out = grad.in_channels * grad.tap_count;
  for (int o = 0; o < Outs; ++o)
    for (int j = 0; j < Count; ++j) {
      float& element = args.dweight[o * dweight_out + args.columns.dweight[j]];
      element = total[o * Count + j] + (args.add ? element : 0.0f);
    }
}

using TileFunction = void (*)(const TapWeightGrad&, const PixelRuns&, const TileArgs&);

template <int Outs, size_t... Counts>
constexpr std::array<TileFunction, sizeof...(Counts)> tiles_of(std::index_sequence<Counts...>) {
  return {multiply_tile<Outs, static_cast<int>(Counts) + 1>...};
}

TileFunction tile_function(int64_t outs, int64_t columns) {
  using All = std::make_index_sequence<kTileColumns>;
  static constexpr std::array<std::array<TileFunction, kTileColumns>, kTileOuts> kFunctions = {
      tiles_of<1>(All{}), tiles_of<2>(All{}), tiles_of<3>(All{}), tiles_of<4>(All{})};
  return kFunctions[static_cast<size_t>(outs - 1)][static_cast<size_t>(columns - 1)];
}

/// The elements of dw as a grid of tiles. A tile row is a group and kTileOuts of its output
/// channels. The columns of a tile are either channels of one tap (`one_tap`), so that the tap's
/// pixels on padding can be skipped, or, where channels are few, any neighbouring columns.
struct TileGrid {
  explicit TileGrid(const TapWeightGrad& grad)
      : one_tap(grad.in_channels >= kTileColumns && grad.tap_count <= kMaxSkipTaps &&
                grad.rows * grad.columns <= kSkipPlane),
        group_rows(ceil_div(grad.out_channels, kTileOuts)),
        tile_rows(grad.groups * group_rows),
        tile_columns(one_tap ? ceil_div(grad.in_channels, kTileColumns) * grad.tap_count
                             : ceil_div(grad.in_channels * grad.tap_count, kTileColumns)) {
    const int64_t step = grad.x_stride.column / kLanes;
    const int64_t bytes_per_channel = kChunkPixels * step * step * 2 * kLanes * 4;
    const int64_t panel_channels =
        ceil_div(kPanelBytes / bytes_per_channel, kTileColumns) * kTileColumns;
    panel = std::max<int64_t>(1, panel_channels * grad.tap_count / kTileColumns);
  }

  TileColumns columns_of(const TapWeightGrad& grad, int64_t tile_column) const {
    TileColumns result;
    const int64_t all = grad.in_channels * grad.tap_count;
    // `first` is the index in dw of the tile's first column, and `step` the distance to the next
    // column.
    const int64_t first = one_tap ? tile_column / grad.tap_count * kTileColumns * grad.tap_count +
                                        tile_column % grad.tap_count
                                  : tile_column * kTileColumns;
    const int64_t step = one_tap ? grad.tap_count : 1;
    result.count = std::min<int64_t>(kTileColumns, ceil_div(all - first, step));
    int64_t channel = first / grad.tap_count;
    int64_t tap = first % grad.tap_count;
    for (int64_t j = 0; j < result.count; ++j) {
      result.dweight[j] = first + j * step;
      result.x[j] = channel * grad.x_stride.channel + grad.taps[tap].x;
      if (one_tap || ++tap == grad.tap_count) {
        if (!one_tap) tap = 0;
        ++channel;
      }
    }
    return result;
  }

  bool one_tap;
  int64_t group_rows;  ///< tile rows of one group
  int64_t tile_rows;
  int64_t tile_columns;
  int64_t panel = 1;  ///< tile columns of a panel
};

/// Adds the pixels of one chunk to the tiles [begin, end) of one tile row. `runs` holds the pixels
/// that each tap can use if the tiles have one tap each, and all pixels otherwise.
void multiply_tiles(const TapWeightGrad& grad, const TileGrid& grid, const PixelRuns* runs,
                    int64_t tile_row, int64_t begin, int64_t end, bool add) {
  const int64_t group = tile_row / grid.group_rows;
  const int64_t out = tile_row % grid.group_rows * kTileOuts;
  const int64_t outs = std::min<int64_t>(kTileOuts, grad.out_channels - out);
  TileArgs args;
  args.dy = grad.dy + group * grad.dy_stride.group + out * grad.dy_stride.channel;
  args.x = grad.x + group * grad.x_stride.group;
  args.dweight =
      grad.dweight + (group * grad.out_channels + out) * grad.in_channels * grad.tap_count;
  args.add = add;
  for (int64_t tile = begin; tile < end; ++tile) {
    args.columns = grid.columns_of(grad, tile);
    tile_function(outs, args.columns.count)(grad, runs[grid.one_tap ? tile % grad.tap_count : 0],
                                            args);
  }
}

/// Computes the tiles [begin, end) of the grid, in row-major order, over all pixels.
void compute_tiles(const TapWeightGrad& grad, const TileGrid& grid, int64_t begin, int64_t end) {
  const PixelChunks chunks(grad);
  const GradTap every_pixel = {.row_end = grad.rows, .column_end = grad.columns};
  std::array<PixelRuns, kMaxSkipTaps> runs;
  for (int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
    for (int64_t i = 0; i < (grid.one_tap ? grad.tap_count : 1); ++i)
      chunks.fill(chunk, grid.one_tap ? grad.taps[i] : every_pixel, runs[static_cast<size_t>(i)]);
    const bool add = chunk > 0 || grad.accumulate;
    for (int64_t panel = 0; panel < grid.tile_columns; panel += grid.panel)
      for (int64_t row = begin / grid.tile_columns; row * grid.tile_columns < end; ++row) {
        const int64_t row_begin = row * grid.tile_columns;
        const int64_t first = std::max(panel, begin - row_begin);
        const int64_t last = std::min({panel + grid.panel, grid.tile_columns, end - row_begin});
        if (first < last) multiply_tiles(grad, grid, runs.data(), row, first, last, add);
      }
  }
}

}  // namespace

void tap_bias_grad(const TapWeightGrad& grad) {
  parallel_for(grad.groups * grad.out_channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t channel = begin; channel < end; ++channel) {
      const float* dy = grad.dy + channel * grad.dy_stride.channel;
      float total = 0.0f;
      for (int64_t line = 0; line < grad.blocks * grad.rows; ++line) {
        const float* row =
            dy + line / grad.rows * grad.dy_stride.block + line % grad.rows * grad.dy_stride.row;
        Vec sum = {};
        for (int64_t i = 0; i < grad.columns; ++i)
          for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
            sum += load(row + i * grad.dy_stride.column + lane);
        float row_total[kVecWidth];
        add_up_all<1>(&sum, row_total);
        total += row_total[0];
      }
      grad.dbias[channel] = total + (grad.accumulate ? grad.dbias[channel] : 0.0f);
    }
  });
}

void tap_weight_grad(const TapWeightGrad& grad) {
  const TileGrid grid(grad);
  parallel_for(grid.tile_rows * grid.tile_columns,
               [&](int64_t begin, int64_t end, int) { compute_tiles(grad, grid, begin, end); });
  if (grad.dbias) tap_bias_grad(grad);
}

}  // namespace SCULPT_ISA_NAMESPACE
