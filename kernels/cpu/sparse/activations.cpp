// Forward pass and input gradient. A tile of pixels keeps its sums of one output channel in
// registers while the kernel walks the kept weights of the channel. Each kept weight is broadcast
// and multiplied with the cells that it meets (including zeros of the border, which costs less than
// cutting windows). Input cells come from cache: a thread processes all output channels of one tile
// and one segment of input channels before it goes on. Each entry costs 4 bytes of value and 4
// bytes of offset, which feed the multiply-adds of a whole tile.
//
// Loads bound this kernel, because each multiply-add loads a cell. Where a layer keeps many
// weights, the kernel therefore copies windows (window.h) and loads a cell once for a group of
// entries.

#include "kernels/common/parallel.h"
#include "kernels/cpu/sparse/passes.h"
#include "kernels/cpu/sparse/tiles.h"
#include "kernels/cpu/sparse/window.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// y (=, +=) bias + the sum over the entries of their values times the cells of x that they meet.
/// The input gradient is such a sum, too; it writes dx (as y) and reads dy (as x).
struct Pass {
  const SparseTaps& taps;
  PixelGrid2d pixels;   ///< the out_... members are those of y, the in_... members those of x
  const float* values;  ///< per entry
  const float* x;
  float* y;
  const float* bias = nullptr;  ///< per output channel, or null
  bool accumulate = false;
};

/// The cells of y of one tile, and the output channels [out_begin, out_end) to compute.
struct TileOutputs {
  float* y;         ///< cell of the tile's first pixel
  int64_t to_next;  ///< floats from y to the next tile
  int64_t out_begin, out_end;
};

/// Computes the sums of the entries of one segment for one tile. add(row, lane, sum) adds the
/// products of a row of the lists to the sums of the tile's pixels, for the images from `lane` on.
template <int kHeight, int kWidth, class Add>
[[gnu::always_inline]] inline void sum_segment(const Pass& pass, const TileOutputs& outputs,
                                               int64_t segment, const Add& add) {
  const SparseTaps& taps = pass.taps;
  const int64_t y_row = pass.pixels.out_row * kLanes;
  const int64_t y_column = pass.pixels.out_column * kLanes;
  const bool load_y = segment > 0 || pass.accumulate;
  for (int64_t o = outputs.out_begin; o < outputs.out_end; ++o) {
    const auto row = static_cast<size_t>(segment * taps.out_channels + o);
    if (load_y && taps.starts[row] == taps.starts[row + 1]) continue;
    float* const out = outputs.y + o * pass.pixels.out_channel * kLanes;
    // A pass that accumulates reads old values from memory, so those of the next tile are
    // prefetched.
    if (pass.accumulate && segment == 0)
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          prefetch_to_write(out + i * y_row + j * y_column + outputs.to_next);
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
      Vec sum[kHeight][kWidth];
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          sum[i][j] = load_y      ? load(out + i * y_row + j * y_column + lane)
                      : pass.bias ? broadcast(pass.bias[o])
                                  : Vec{};
      add(row, lane, sum);
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          store(out + i * y_row + j * y_column + lane, sum[i][j]);
    }
  }
}

/// Computes one tile. x points at the cell of the tile's first pixel. kNeighbours says that the
/// cells of neighbouring pixels of a row are neighbours in x, too (stride 1).
template <int kHeight, int kWidth, bool kNeighbours>
void run_tile(const Pass& pass, const float* x, const TileOutputs& outputs) {
  const SparseTaps& taps = pass.taps;
  const int64_t x_row = pass.pixels.in_row * kLanes;
  const int64_t x_column = kNeighbours ? kLanes : pass.pixels.in_column * kLanes;
  const auto add = [&](size_t row, int64_t lane, Vec(&sum)[kHeight][kWidth])
      __attribute__((always_inline)) {
    for (int64_t k = taps.starts[row]; k < taps.starts[row + 1]; ++k) {
      const Vec value = broadcast(pass.values[k]);
      const float* cell = x + int64_t{taps.offsets[static_cast<size_t>(k)]} * kLanes + lane;
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          sum[i][j] += value * load(cell + i * x_row + j * x_column);
    }
  };
  for (int64_t segment = 0; segment < taps.segments; ++segment)
    sum_segment<kHeight, kWidth>(pass, outputs, segment, add);
}

/// Adds the products of `groups` groups to the sums of a tile. kColumns are the columns of a
/// group's entries. Moves `cell` and `value` behind the groups.
template <class Tile, int... kColumns>
[[gnu::always_inline]] inline void add_groups(int32_t groups, const float* window,
                                              const int32_t*& cell, const float*& value,
                                              Vec (&sum)[Tile::kHeight][Tile::kWidth]) {
  constexpr int kEntries = sizeof...(kColumns);
  constexpr int kColumn[kEntries] = {kColumns...};
  for (; groups > 0; --groups) {
    Vec values[kEntries];
    for (int e = 0; e < kEntries; ++e)
      values[e] = broadcast(value[e]);
    value += kEntries;
    const float* const first = window + int64_t{*cell++} * kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < Tile::kHeight; ++i)
#pragma GCC unroll 16
      for (int j = 0; j < Tile::kWidth + kColumn[kEntries - 1]; ++j) {
        Vec x = load(first + i * Tile::kRow + j * kLanes);
        if constexpr (kEntries > 1) keep_in_register(x);
#pragma GCC unroll 4
        for (int e = 0; e < kEntries; ++e)
          if (const int to = j - kColumn[e]; to >= 0 && to < Tile::kWidth)
            sum[i][to] += values[e] * x;
      }
  }
}

/// The same as run_tile, on windows.
template <class Tile>
void run_window_tile(const Pass& pass, const float* x, const TileOutputs& outputs) {
  const SparseTaps& taps = pass.taps;
  const TapWindows& windows = *taps.windows;
  for (int64_t segment = 0; segment < taps.segments; ++segment) {
    const float* const window = copy_window<Tile>(windows, x, segment);
    const auto add = [&](size_t row, int64_t lane, Vec(&sum)[Tile::kHeight][Tile::kWidth])
        __attribute__((always_inline)) {
      const int32_t* const groups = windows.counts.data() + row * kTapGroups;
      const int32_t* cell = windows.group_cells.data() + windows.starts[row];
      const float* value = pass.values + taps.starts[row];
      add_groups<Tile, 0>(groups[0], window + lane, cell, value, sum);
      add_groups<Tile, 0, 1>(groups[1], window + lane, cell, value, sum);
      add_groups<Tile, 0, 2>(groups[2], window + lane, cell, value, sum);
      add_groups<Tile, 0, 1, 2>(groups[3], window + lane, cell, value, sum);
    };
    sum_segment<Tile::kHeight, Tile::kWidth>(pass, outputs, segment, add);
  }
}

/// Computes output channels [out_begin, out_end) for one strip of tiles.
void run_strip(const Pass& pass, const Tiling& tiling, int64_t strip, int64_t out_begin,
               int64_t out_end) {
  const PixelGrid2d& pixels = pass.pixels;
  const int64_t block = strip / tiling.strips();
  tiling.for_each_tile(strip % tiling.strips(), [&](const Tile& tile) {
    const float* x = pass.x + (block * pixels.in_block + pixels.in_first +
                               tile.row * pixels.in_row + tile.column * pixels.in_column) *
                                  kLanes;
    float* y = pass.y + (block * pixels.out_block + pixels.out_first + tile.row * pixels.out_row +
                         tile.column * pixels.out_column) *
                            kLanes;
    const TileOutputs outputs = {
        .y = y,
        .to_next = tiling.to_next(tile, pixels.out_row, pixels.out_column) * kLanes,
        .out_begin = out_begin,
        .out_end = out_end};
    with_tile_size(tile, [&](auto height, auto width) {
      const bool done = with_window<height, width>(pass.taps, [&](auto window_tile) {
        run_window_tile<decltype(window_tile)>(pass, x, outputs);
      });
      if (done) return;
      if (pixels.in_column == 1)
        run_tile<height, width, true>(pass, x, outputs);
      else
        run_tile<height, width, false>(pass, x, outputs);
    });
  });
}

void run_pass(const Pass& pass, int64_t blocks) {
  const Tiling tiling(pass.pixels);
  const int64_t strips = blocks * tiling.strips();
  if (strips == 0) return;
  // If there are few strips, threads also share out the output channels of a strip. No sum depends
  // on this split.
  const int64_t wanted = thread_count() > 1 ? ceil_div(4 * thread_count(), strips) : 1;
  const int64_t splits = std::min(pass.taps.out_channels, wanted);
  const int64_t split_outs = ceil_div(pass.taps.out_channels, splits);
  parallel_for(strips * splits, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t out_begin = item % splits * split_outs;
      const int64_t out_end = std::min(out_begin + split_outs, pass.taps.out_channels);
      run_strip(pass, tiling, item / splits, out_begin, out_end);
    }
  });
}

/// Runs a pass over one block, on the calling thread alone.
void run_pass_here(const Pass& pass) {
  const Tiling tiling(pass.pixels);
  for (int64_t strip = 0; strip < tiling.strips(); ++strip)
    run_strip(pass, tiling, strip, 0, pass.taps.out_channels);
}

/// Returns the weights in the order of the entries. They are gathered in the workspace unless they
/// are stored in this order.
const float* values_of(const SparseTaps& taps, const void* weight, void* workspace) {
  if (taps.weights.empty()) return floats(weight);
  gather_values(floats(workspace), floats(weight), taps);
  return floats(workspace);
}

}  // namespace

void sparse_forward(const ConvForward& args, const SparsePattern& pattern) {
  const SparseTaps& taps = pattern.forward();
  const BatchGrid grid = grid_of(taps, args.launch.batch);
  run_pass({.taps = taps,
            .pixels = grid.pixels,
            .values = values_of(taps, args.weight, args.workspace),
            .x = floats(args.x),
            .y = floats(args.y),
            .bias = floats(args.bias)},
           grid.blocks);
}

void sparse_input_grad(const ConvInputGrad& args, const SparsePattern& pattern) {
  for (const SparseTaps& taps : pattern.input_grad()) {
    const BatchGrid grid = grid_of(taps, args.launch.batch);
    run_pass({.taps = taps,
              .pixels = grid.pixels,
              .values = values_of(taps, args.weight, args.workspace),
              .x = floats(args.dy),
              .y = floats(args.dx),
              .accumulate = args.write == GradWrite::accumulate},
             grid.blocks);
  }
}

void sparse_forward_block(const ConvForward& args, const SparsePattern& pattern,
                          const RowRange& rows) {
  const SparseTaps& taps = pattern.forward();
  run_pass_here({.taps = taps,
                 .pixels = rows_of(taps.pixels, rows.begin, rows.end),
                 .values = floats(args.weight),
                 .x = floats(args.x),
                 .y = floats(args.y)});
}

void sparse_input_grad_block(const ConvInputGrad& args, const SparsePattern& pattern,
                             const RowRange& rows) {
  const int64_t stride = pattern.shape().stride;
  const float* values = floats(args.weight) + values_stride(pattern.forward());
  for (const SparseTaps& taps : pattern.input_grad()) {
    // The taps of this class write every stride-th row of dx, starting at row row_class.
    const int64_t row_class = taps.pixels.out_first / pattern.shape().in.row_stride();
    const int64_t begin = ceil_div(std::max<int64_t>(0, rows.begin - row_class), stride);
    const int64_t end = ceil_div(std::max<int64_t>(0, rows.end - row_class), stride);
    run_pass_here({.taps = taps,
                   .pixels = rows_of(taps.pixels, begin, end),
                   .values = values,
                   .x = floats(args.dy),
                   .y = floats(args.dx),
                   .accumulate = args.write == GradWrite::accumulate});
    values += values_stride(taps);
  }
}

}  // namespace SCULPT_ISA_NAMESPACE
