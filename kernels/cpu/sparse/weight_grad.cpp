// Gradient of the kept weights. A tile keeps its cells of dy in registers while the kernel walks
// the entries and multiplies them with the cells of x that each entry meets. Every thread adds to a
// partial gradient of its own; the partial gradients are added up at the end.
//
// A product of cells has one number per image. These lanes are added up at the end, too, if there
// are few entries; otherwise they are added up per tile, for one vector of entries at a time.

#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/sparse/passes.h"
#include "kernels/cpu/sparse/tiles.h"
#include "kernels/cpu/sparse/window.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

/// A partial gradient of at most this many entries keeps a separate sum for each lane. It fits a
/// cache, and adding up lanes for each tile would take as long as the products.
constexpr int64_t kMostWithLanes = 2048;

bool keeps_lanes(const SparseTaps& taps) {
  return taps.count() <= kMostWithLanes;
}

/// The number of floats of one partial gradient.
int64_t partial_floats(const SparseTaps& taps) {
  const int64_t count = taps.count() * (keeps_lanes(taps) ? kVecWidth : 1);
  return static_cast<int64_t>(align_up(static_cast<size_t>(count) * sizeof(float)) / sizeof(float));
}

/// Arguments for the gradient of the kept weights.
struct GradPass {
  const SparseTaps& taps;
  PixelGrid2d pixels;  ///< the out_... members are those of dy, the in_... members those of x
  const float* dy;
  const float* x;
  int64_t in_channels;
  int64_t in_channel;  ///< distance in cells between neighbouring input channels
};

GradPass grad_pass(const ConvWeightGrad& args, const SparsePattern& pattern,
                   const PixelGrid2d& pixels) {
  return {.taps = pattern.weight_grad(),
          .pixels = pixels,
          .dy = floats(args.dy),
          .x = floats(args.x),
          .in_channels = pattern.shape().in.channels,
          .in_channel = pattern.shape().in.plane_stride()};
}

/// The number of entries whose sums are computed at the same time.
constexpr int kEntries = 4;

/// The cells of x that the entries meet for the pixels of a tile, where x lies in memory.
/// kNeighbours says that the cells of neighbouring pixels of a row are neighbours in x, too (stride
/// 1).
template <bool kNeighbours>
struct PlaneCells {
  const float* x;          ///< cell of the tile's first pixel
  const int32_t* offsets;  ///< per entry
  int64_t x_row, x_column;

  int64_t row() const { return x_row; }
  int64_t column() const { return kNeighbours ? kLanes : x_column; }
};

/// The same in a window.
template <class Tile>
struct WindowCells {
  const float* x;  ///< the window
  const int32_t* offsets;

  static constexpr int64_t row() { return Tile::kRow; }
  static constexpr int64_t column() { return kLanes; }
};

/// Returns in sums[e] the sum over the tile's pixels of the products of cells of dy and of x, for
/// the entries [entry, entry + kCount) and one register of images. Each entry has two chains of
/// additions, so that the latencies of their additions overlap.
template <int kCount, int kHeight, int kWidth, class Cells>
[[gnu::always_inline]] inline void multiply_tile(Vec (&sums)[kCount],
                                                 const Vec (&dy)[kHeight][kWidth],
                                                 const Cells& cells, int64_t entry, int64_t lane) {
  Vec sum[kCount][2] = {};
  const float* cell[kCount];
  for (int e = 0; e < kCount; ++e)
    cell[e] = cells.x + int64_t{cells.offsets[entry + e]} * kLanes + lane;
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < kWidth; ++j)
#pragma GCC unroll 4
      for (int e = 0; e < kCount; ++e)
        sum[e][(i * kWidth + j) % 2] +=
            dy[i][j] * load(cell[e] + i * cells.row() + j * cells.column());
  for (int e = 0; e < kCount; ++e)
    sums[e] = sum[e][0] + sum[e][1];
}

/// Adds up the lanes of the sums of consecutive entries, and adds the totals to a gradient. The
/// lanes of one vector of entries are added up together, because that takes a fourth of the
/// instructions.
class LaneAdder {
 public:
  explicit LaneAdder(float* gradient) : gradient_(gradient) {}

  /// Takes the sums of the next entries.
  template <int kCount>
  [[gnu::always_inline]] void add(const Vec (&sums)[kCount]) {
    for (int e = 0; e < kCount; ++e)
      store(sums_ + (count_ + e) % kSlots * kVecWidth, sums[e]);
    const int before = count_ % kVecWidth;
    count_ += kCount;
    if (before + kCount >= kVecWidth) add_up(count_ / kVecWidth - 1);
  }
  /// Call this after the last entry.
  void finish() {
    const int rest = count_ % kVecWidth;
    const Vec total = totals(count_ / kVecWidth);
    for (int e = 0; e < rest; ++e)
      gradient_[e] += total[e];
  }

 private:
  // Two vectors of entries: entries behind the end of one vector go to the other.
  static constexpr int kSlots = 2 * kVecWidth;

  Vec totals(int vector) const {
    const float* const sums = sums_ + vector % 2 * kVecWidth * kVecWidth;
    Vec v[kVecWidth];
    for (int e = 0; e < kVecWidth; ++e)
      v[e] = load(sums + e * kVecWidth);
    return add_up_lanes(v);
  }
  void add_up(int vector) {
    store(gradient_, load(gradient_) + totals(vector));
    gradient_ += kVecWidth;
  }

  float* gradient_;
  int count_ = 0;
  alignas(64) float sums_[kSlots * kVecWidth] = {};
};

/// Adds the sums of consecutive entries to a gradient that has a number for each lane of a
/// register.
class LaneKeeper {
 public:
  explicit LaneKeeper(float* gradient) : gradient_(gradient) {}

  template <int kCount>
  [[gnu::always_inline]] void add(const Vec (&sums)[kCount]) {
    for (int e = 0; e < kCount; ++e)
      store(gradient_ + e * kVecWidth, load(gradient_ + e * kVecWidth) + sums[e]);
    gradient_ += kCount * kVecWidth;
  }
  void finish() {}

 private:
  float* gradient_;
};

/// The cells of dy of one tile and output channel.
struct OutputCells {
  const float* first;
  int64_t row, column;  ///< floats between the cells of neighbouring pixels
};

/// Adds the sums of the entries [begin, end), which have the same output channel, over the pixels
/// of a tile. Adder is LaneAdder or LaneKeeper.
template <int kHeight, int kWidth, class Cells, class Adder>
[[gnu::always_inline]] inline void add_entries(const OutputCells& out, const Cells& cells,
                                               int64_t begin, int64_t end, Adder& adder) {
  if (begin == end) return;
  Vec dy[kHeight][kWidth];
  const auto load_dy = [&](int64_t lane) __attribute__((always_inline)) {
    for (int i = 0; i < kHeight; ++i)
      for (int j = 0; j < kWidth; ++j)
        dy[i][j] = load(out.first + i * out.row + j * out.column + lane);
  };
  // With AVX-512, one register holds all lanes of a cell, and the cells of dy stay in registers.
  if constexpr (kVecsPerCell == 1) load_dy(0);
  const auto add = [&]<int kCount>(int64_t entry) __attribute__((always_inline)) {
    Vec sums[kCount];
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
      if constexpr (kVecsPerCell > 1) load_dy(lane);
      Vec of_lanes[kCount];
      multiply_tile(of_lanes, dy, cells, entry, lane);
      for (int e = 0; e < kCount; ++e)
        sums[e] = lane == 0 ? of_lanes[e] : sums[e] + of_lanes[e];
    }
    adder.add(sums);
  };
  for (; begin + kEntries <= end; begin += kEntries)
    add.template operator()<kEntries>(begin);
  for (; begin < end; ++begin)
    add.template operator()<1>(begin);
}

/// Returns the cells of dy of output channel `channel`. dy points at the cell of the tile's first
/// pixel.
OutputCells output_cells(const GradPass& pass, const float* dy, int64_t channel) {
  const PixelGrid2d& pixels = pass.pixels;
  return {dy + channel * pixels.out_channel * kLanes, pixels.out_row * kLanes,
          pixels.out_column * kLanes};
}

/// Adds the gradients from the pixels of one tile to `gradient`, for all entries. x and dy point at
/// the cells of the tile's first pixel. to_next: floats from x to the next tile.
template <int kHeight, int kWidth, bool kNeighbours, class Adder>
void add_tile(const GradPass& pass, const float* x, const float* dy, int64_t to_next,
              float* gradient) {
  const SparseTaps& taps = pass.taps;
  const PlaneCells<kNeighbours> cells = {.x = x,
                                         .offsets = taps.offsets.data(),
                                         .x_row = pass.pixels.in_row * kLanes,
                                         .x_column = pass.pixels.in_column * kLanes};
  const int64_t rows = taps.segments * taps.out_channels;
  Adder adder(gradient);
  for (int64_t row = 0; row < rows; ++row) {
    // Prefetches cells of the next tile, because the entries' offsets follow no order that the
    // hardware could predict. Each row prefetches a share of the input channels, so that the
    // requests spread.
    for (int64_t c = row * pass.in_channels / rows; c < (row + 1) * pass.in_channels / rows; ++c)
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          prefetch(x + to_next + c * pass.in_channel * kLanes + i * cells.row() +
                   j * cells.column());
    const int64_t* const entries = taps.starts.data() + row;
    add_entries<kHeight, kWidth>(output_cells(pass, dy, row % taps.out_channels), cells, entries[0],
                                 entries[1], adder);
  }
  adder.finish();
}

/// The same on windows.
template <class Tile, class Adder>
void add_window_tile(const GradPass& pass, const float* x, const float* dy, float* gradient) {
  const SparseTaps& taps = pass.taps;
  Adder adder(gradient);
  for (int64_t segment = 0; segment < taps.segments; ++segment) {
    const WindowCells<Tile> cells = {.x = copy_window<Tile>(*taps.windows, x, segment),
                                     .offsets = taps.windows->entry_cells.data()};
    const int64_t* const starts = taps.starts.data() + segment * taps.out_channels;
    for (int64_t o = 0; o < taps.out_channels; ++o)
      add_entries<Tile::kHeight, Tile::kWidth>(output_cells(pass, dy, o), cells, starts[o],
                                               starts[o + 1], adder);
  }
  adder.finish();
}

/// Adds the gradients from the pixels of one tile, on windows if there are any for its size.
template <int kHeight, int kWidth, class Adder>
void add_any_tile(const GradPass& pass, const float* x, const float* dy, int64_t to_next,
                  float* gradient) {
  const bool done = with_window<kHeight, kWidth>(pass.taps, [&](auto window_tile) {
    add_window_tile<decltype(window_tile), Adder>(pass, x, dy, gradient);
  });
  if (done) return;
  if (pass.pixels.in_column == 1)
    add_tile<kHeight, kWidth, true, Adder>(pass, x, dy, to_next, gradient);
  else
    add_tile<kHeight, kWidth, false, Adder>(pass, x, dy, to_next, gradient);
}

/// Adds the gradients of strips [begin, end) to `gradient`.
void add_strips(const GradPass& pass, int64_t begin, int64_t end, float* gradient) {
  const PixelGrid2d& pixels = pass.pixels;
  const Tiling tiling(pixels);
  const bool keep = keeps_lanes(pass.taps);
  for (int64_t strip = begin; strip < end; ++strip) {
    const int64_t block = strip / tiling.strips();
    tiling.for_each_tile(strip % tiling.strips(), [&](const Tile& tile) {
      const float* x = pass.x + (block * pixels.in_block + pixels.in_first +
                                 tile.row * pixels.in_row + tile.column * pixels.in_column) *
                                    kLanes;
      const float* dy = pass.dy + (block * pixels.out_block + pixels.out_first +
                                   tile.row * pixels.out_row + tile.column * pixels.out_column) *
                                      kLanes;
      const int64_t to_next = tiling.to_next(tile, pixels.in_row, pixels.in_column) * kLanes;
      with_tile_size(tile, [&](auto height, auto width) {
        keep ? add_any_tile<height, width, LaneKeeper>(pass, x, dy, to_next, gradient)
             : add_any_tile<height, width, LaneAdder>(pass, x, dy, to_next, gradient);
      });
    });
  }
}

/// args.dbias[o] (=, +=) the sum of dy's cells.
void bias_grad(const ConvWeightGrad& args, const BatchGrid& grid, int64_t channels) {
  const PixelGrid2d& pixels = grid.pixels;
  float* const dbias = floats(args.dbias);
  parallel_for(channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      Vec sum[kVecWidth] = {};
      for (int64_t block = 0; block < grid.blocks; ++block)
        for (int64_t i = 0; i < pixels.rows; ++i)
          for (int64_t j = 0; j < pixels.columns; ++j) {
            const float* cell =
                floats(args.dy) + (block * pixels.out_block + o * pixels.out_channel +
                                   i * pixels.out_row + j * pixels.out_column) *
                                      kLanes;
            for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
              sum[0] += load(cell + lane);
          }
      const float total = add_up_lanes(sum)[0];
      dbias[o] = total + (args.write == GradWrite::accumulate ? dbias[o] : 0.0f);
    }
  });
}

}  // namespace

size_t sparse_partial_bytes(const SparsePattern& pattern) {
  return static_cast<size_t>(partial_floats(pattern.weight_grad())) * sizeof(float);
}

void sparse_sum_partials(void* dweight, const void* partials, int64_t count,
                         const SparsePattern& pattern, GradWrite write) {
  const SparseTaps& taps = pattern.weight_grad();
  const int64_t stride = partial_floats(taps);
  const int64_t lanes = keeps_lanes(taps) ? kVecWidth : 1;
  const float* partial = floats(partials);
  float* gradient = floats(dweight);
  parallel_for(taps.count(), [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k) {
      float sum = 0;
      for (int64_t p = 0; p < count; ++p)
        for (int64_t lane = 0; lane < lanes; ++lane)
          sum += partial[p * stride + k * lanes + lane];
      float& to = gradient[stored_at(taps, k)];
      to = sum + (write == GradWrite::accumulate ? to : 0.0f);
    }
  });
}

void sparse_weight_grad(const ConvWeightGrad& args, const SparsePattern& pattern) {
  const SparseTaps& taps = pattern.weight_grad();
  const BatchGrid grid = grid_of(taps, args.launch.batch);
  const GradPass pass = grad_pass(args, pattern, grid.pixels);
  const int64_t stride = partial_floats(taps);
  float* const partials = floats(args.workspace);
  const int threads = thread_count();
  parallel_for(stride * threads, [&](int64_t begin, int64_t end, int) {
    std::memset(partials + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
  parallel_for(grid.blocks * Tiling(grid.pixels).strips(),
               [&](int64_t begin, int64_t end, int thread) {
                 add_strips(pass, begin, end, partials + thread * stride);
               });
  sparse_sum_partials(args.dweight, partials, threads, pattern, args.write);
  if (args.dbias != nullptr) bias_grad(args, grid, taps.out_channels);
}

void sparse_weight_grad_block(const ConvWeightGrad& args, const SparsePattern& pattern,
                              const RowRange& rows) {
  const PixelGrid2d pixels = rows_of(pattern.weight_grad().pixels, rows.begin, rows.end);
  add_strips(grad_pass(args, pattern, pixels), 0, Tiling(pixels).strips(), floats(args.dweight));
}

}  // namespace SCULPT_ISA_NAMESPACE
