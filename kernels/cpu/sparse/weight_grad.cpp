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

/// sums[e] += sum over the tile's pixels of the products of cells of dy and x. Each entry has two
/// chains of additions, so that the latencies of their additions overlap.
template <int kCount, int kHeight, int kWidth, bool kNeighbours>
[[gnu::always_inline]] inline void multiply_tile(Vec* sums, const Vec (&dy)[kHeight][kWidth],
                                                 const float* x, const int32_t* offsets,
                                                 int64_t x_row, int64_t x_column) {
  Vec sum[kCount][2] = {};
  const float* cell[kCount];
  for (int e = 0; e < kCount; ++e)
    cell[e] = x + int64_t{offsets[e]} * kLanes;
  for (int i = 0; i < kHeight; ++i)
    for (int j = 0; j < kWidth; ++j)
      for (int e = 0; e < kCount; ++e)
        sum[e][(i * kWidth + j) % 2] +=
            dy[i][j] * load(cell[e] + i * x_row + j * (kNeighbours ? kLanes : x_column));
  for (int e = 0; e < kCount; ++e)
    sums[e] += sum[e][0] + sum[e][1];
}

/// Adds the gradients from the pixels of one tile to `gradient`, for all entries. x and dy point at
/// the cells of the tile's first pixel. to_next: floats from x to the next tile. kNeighbours says
/// that the cells of neighbouring pixels of a row are neighbours in x, too (stride 1). With
/// kKeepLanes, `gradient` has one number per entry and lane of a register; otherwise it has one
/// number per entry.
template <int kHeight, int kWidth, bool kNeighbours, bool kKeepLanes>
void add_tile(const GradPass& pass, const float* x, const float* dy, int64_t to_next,
              float* gradient) {
  const SparseTaps& taps = pass.taps;
  const int64_t x_row = pass.pixels.in_row * kLanes, x_column = pass.pixels.in_column * kLanes;
  const int64_t dy_row = pass.pixels.out_row * kLanes;
  const int64_t dy_column = pass.pixels.out_column * kLanes;
  const int64_t rows = taps.segments * taps.out_channels;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = taps.starts[static_cast<size_t>(row)];
    const int64_t end = taps.starts[static_cast<size_t>(row + 1)];
    const float* out = dy + row % taps.out_channels * pass.pixels.out_channel * kLanes;
    // Prefetches cells of the next tile, because the entries' offsets follow no order that the
    // hardware could predict. Each row prefetches a share of the input channels, so that the
    // requests spread.
    for (int64_t c = row * pass.in_channels / rows; c < (row + 1) * pass.in_channels / rows; ++c)
      for (int i = 0; i < kHeight; ++i)
        for (int j = 0; j < kWidth; ++j)
          prefetch(x + to_next + c * pass.in_channel * kLanes + i * x_row + j * x_column);
    for (int64_t k = begin; k < end; k += kVecWidth) {
      const int count = static_cast<int>(std::min<int64_t>(kVecWidth, end - k));
      Vec sums[kVecWidth];
      for (int i = 0; i < (kKeepLanes ? count : kVecWidth); ++i)
        sums[i] = kKeepLanes ? load(gradient + (k + i) * kVecWidth) : Vec{};
      for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
        Vec cells[kHeight][kWidth];
        for (int i = 0; i < kHeight; ++i)
          for (int j = 0; j < kWidth; ++j)
            cells[i][j] = load(out + i * dy_row + j * dy_column + lane);
        const int32_t* offsets = taps.offsets.data() + k;
        int e = 0;
        for (; e + kEntries <= count; e += kEntries)
          multiply_tile<kEntries, kHeight, kWidth, kNeighbours>(sums + e, cells, x + lane,
                                                                offsets + e, x_row, x_column);
        for (; e < count; ++e)
          multiply_tile<1, kHeight, kWidth, kNeighbours>(sums + e, cells, x + lane, offsets + e,
                                                         x_row, x_column);
      }
      if constexpr (kKeepLanes) {
        for (int i = 0; i < count; ++i)
          store(gradient + (k + i) * kVecWidth, sums[i]);
      } else {
        const Vec total = add_up_lanes(sums);
        if (count == kVecWidth)
          store(gradient + k, load(gradient + k) + total);
        else
          for (int i = 0; i < count; ++i)
            gradient[k + i] += total[i];
      }
    }
  }
}

/// Returns in sums[e] the sum over the tile's pixels of the products of cells of dy and of the
/// window, for the entries that meet the cells `cells`.
template <int kCount, class Tile>
[[gnu::always_inline]] inline void multiply_window(Vec (&sums)[kCount],
                                                   const Vec (&dy)[Tile::kHeight][Tile::kWidth],
                                                   const float* window, const int32_t* cells) {
  Vec sum[kCount][2] = {};
  const float* cell[kCount];
  for (int e = 0; e < kCount; ++e)
    cell[e] = window + int64_t{cells[e]} * kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < Tile::kHeight; ++i)
#pragma GCC unroll 16
    for (int j = 0; j < Tile::kWidth; ++j)
#pragma GCC unroll 4
      for (int e = 0; e < kCount; ++e)
        sum[e][j % 2] += dy[i][j] * load(cell[e] + i * Tile::kRow + j * kLanes);
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

/// Adds the sums of consecutive entries to a gradient that has a number per lane.
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

/// The same as add_tile, on windows. Adder is LaneAdder or LaneKeeper.
template <class Tile, class Adder>
void add_window_tile(const GradPass& pass, const float* x, const float* dy, float* gradient) {
  constexpr int kHeight = Tile::kHeight, kWidth = Tile::kWidth;
  const SparseTaps& taps = pass.taps;
  const int32_t* const cells = taps.windows->entry_cells.data();
  const int64_t dy_row = pass.pixels.out_row * kLanes;
  const int64_t dy_column = pass.pixels.out_column * kLanes;
  Adder adder(gradient);
  for (int64_t segment = 0; segment < taps.segments; ++segment) {
    const float* const window = copy_window<Tile>(*taps.windows, x, segment);
    for (int64_t o = 0; o < taps.out_channels; ++o) {
      const auto row = static_cast<size_t>(segment * taps.out_channels + o);
      const int64_t begin = taps.starts[row], end = taps.starts[row + 1];
      if (begin == end) continue;
      const float* const out = dy + o * pass.pixels.out_channel * kLanes;
      Vec d[kHeight][kWidth];
      const auto load_dy = [&](int64_t lane) __attribute__((always_inline)) {
        for (int i = 0; i < kHeight; ++i)
          for (int j = 0; j < kWidth; ++j)
            d[i][j] = load(out + i * dy_row + j * dy_column + lane);
      };
      // With AVX-512, one register holds all lanes of a cell, and the cells of dy stay in
      // registers.
      if constexpr (kVecsPerCell == 1) load_dy(0);
      const auto add_entries = [&]<int kCount>(int64_t k) __attribute__((always_inline)) {
        Vec sums[kCount];
        for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
          if constexpr (kVecsPerCell > 1) load_dy(lane);
          Vec of_lanes[kCount];
          multiply_window<kCount, Tile>(of_lanes, d, window + lane, cells + k);
          for (int e = 0; e < kCount; ++e)
            sums[e] = lane == 0 ? of_lanes[e] : sums[e] + of_lanes[e];
        }
        adder.add(sums);
      };
      int64_t k = begin;
      for (; k + kEntries <= end; k += kEntries)
        add_entries.template operator()<kEntries>(k);
      for (; k < end; ++k)
        add_entries.template operator()<1>(k);
    }
  }
  adder.finish();
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
        const bool done = with_window<height, width>(pass.taps, [&](auto window_tile) {
          using WindowTile = decltype(window_tile);
          keep ? add_window_tile<WindowTile, LaneKeeper>(pass, x, dy, gradient)
               : add_window_tile<WindowTile, LaneAdder>(pass, x, dy, gradient);
        });
        if (done) return;
        if (pixels.in_column == 1)
          keep ? add_tile<height, width, true, true>(pass, x, dy, to_next, gradient)
               : add_tile<height, width, true, false>(pass, x, dy, to_next, gradient);
        else
          keep ? add_tile<height, width, false, true>(pass, x, dy, to_next, gradient)
               : add_tile<height, width, false, false>(pass, x, dy, to_next, gradient);
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
