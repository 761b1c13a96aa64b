// Sparse convolution: a tile of pixels keeps its sums of one output channel in registers while the
// channel's kept weights pass by, each one a broadcast that is multiplied with the cells it meets
// (zeros of the border included: that costs less than cutting windows). Input cells are read from
// cache: a thread runs all output channels over one tile and segment of input channels, then goes
// on. Entry by entry, 4 bytes of value and 4 of offset feed a whole tile of multiply-adds.
//
// The weight gradient keeps the cells of dy in registers instead and adds up the lanes of 16
// entries at a time.

#include "kernels/cpu/sparse_conv2d.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/sparse_tiles.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t align_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Of one float per entry.
size_t entry_bytes(const SparseTaps& taps) {
  return align_up(static_cast<size_t>(taps.count()) * sizeof(float));
}

size_t workspace_bytes(const SparseConv2d& conv) {
  // Values of one pass, or a partial gradient of each thread.
  return entry_bytes(conv.forward()) * static_cast<size_t>(thread_count());
}

/// The pixels of all blocks of a batch. A plane of one pixel is no tile: its blocks are.
PixelGrid2d grid_of(const SparseTaps& taps, int64_t& blocks) {
  PixelGrid2d pixels = taps.pixels;
  if (pixels.rows * pixels.columns > 1) return pixels;
  pixels.columns = blocks;
  pixels.out_column = pixels.out_block;
  pixels.in_column = pixels.in_block;
  blocks = 1;
  return pixels;
}

/// The weights in the order of the entries: gathered in the workspace unless they are stored so.
const float* values_of(const SparseTaps& taps, const void* weight, void* workspace) {
  const auto* stored = static_cast<const float*>(weight);
  if (taps.weights.empty()) return stored;
  auto* values = static_cast<float*>(workspace);
  parallel_for(taps.count(), [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k)
      values[k] = stored[taps.weights[static_cast<size_t>(k)]];
  });
  return values;
}

/// A pass that writes activations.
struct Pass {
  const SparseTaps& taps;
  PixelGrid2d pixels;
  const float* values;
  const float* x;
  float* y;
  const float* bias;  ///< per output channel, or null
  bool accumulate;
};

/// Sums of the output channels [out_begin, out_end) of a tile, whose first pixel's cells are at x
/// and y.
template <int kHeight, int kWidth, bool kNeighbours>
void run_tile(const Pass& pass, const float* x, float* y, int64_t out_begin, int64_t out_end) {
  const SparseTaps& taps = pass.taps;
  const int64_t x_row = pass.pixels.in_row * kLanes;
  const int64_t x_column = kNeighbours ? kLanes : pass.pixels.in_column * kLanes;
  const int64_t y_row = pass.pixels.out_row * kLanes;
  const int64_t y_column = pass.pixels.out_column * kLanes;
  for (int64_t segment = 0; segment < taps.segments; ++segment) {
    const int64_t* starts = taps.starts.data() + segment * taps.out_channels;
    const bool load_y = segment > 0 || pass.accumulate;
    for (int64_t o = out_begin; o < out_end; ++o) {
      const int64_t begin = starts[o], end = starts[o + 1];
      if (load_y && begin == end) continue;
      float* const out = y + o * pass.pixels.out_channel * kLanes;
      for (int64_t lane = 0; lane < kLanes; lane += kVecWidth) {
        Vec sum[kHeight][kWidth];
        for (int i = 0; i < kHeight; ++i)
          for (int j = 0; j < kWidth; ++j)
            sum[i][j] = load_y      ? load(out + i * y_row + j * y_column + lane)
                        : pass.bias ? broadcast(pass.bias[o])
                                    : Vec{};
        for (int64_t k = begin; k < end; ++k) {
          const Vec value = broadcast(pass.values[k]);
          const float* cell = x + int64_t{taps.offsets[static_cast<size_t>(k)]} * kLanes + lane;
          for (int i = 0; i < kHeight; ++i)
            for (int j = 0; j < kWidth; ++j)
              sum[i][j] += value * load(cell + i * x_row + j * x_column);
        }
        for (int i = 0; i < kHeight; ++i)
          for (int j = 0; j < kWidth; ++j)
            store(out + i * y_row + j * y_column + lane, sum[i][j]);
      }
    }
  }
}

void run_pass(const Pass& pass, int64_t blocks) {
  const PixelGrid2d& pixels = pass.pixels;
  const Tiling tiling(pixels);
  const int64_t strips = blocks * tiling.strips();
  if (strips == 0) return;
  // Few strips are shared out together with their output channels; no sum depends on that.
  const int64_t wanted = thread_count() > 1 ? ceil_div(4 * thread_count(), strips) : 1;
  const int64_t splits = std::min(pass.taps.out_channels, wanted);
  const int64_t split_outs = ceil_div(pass.taps.out_channels, splits);
  parallel_for(strips * splits, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = item / splits / tiling.strips();
      const int64_t out_begin = item % splits * split_outs;
      const int64_t out_end = std::min(out_begin + split_outs, pass.taps.out_channels);
      tiling.for_each_tile(item / splits % tiling.strips(), [&](const Tile& tile) {
        const float* x = pass.x + (block * pixels.in_block + pixels.in_first +
                                   tile.row * pixels.in_row + tile.column * pixels.in_column) *
                                      kLanes;
        float* y = pass.y + (block * pixels.out_block + pixels.out_first +
                             tile.row * pixels.out_row + tile.column * pixels.out_column) *
                                kLanes;
        with_tile_size(tile, [&](auto height, auto width) {
          if (pixels.in_column == 1)
            run_tile<height, width, true>(pass, x, y, out_begin, out_end);
          else
            run_tile<height, width, false>(pass, x, y, out_begin, out_end);
        });
      });
    }
  });
}

void forward(void* y, const void* x, const void* weight, const void* bias, const SparseConv2d& conv,
             void* workspace, const Launch& launch) {
  const float* values = values_of(conv.forward(), weight, workspace);
  int64_t blocks = ceil_div(launch.batch, kLanes);
  const PixelGrid2d pixels = grid_of(conv.forward(), blocks);
  run_pass({conv.forward(), pixels, values, static_cast<const float*>(x), static_cast<float*>(y),
            static_cast<const float*>(bias), false},
           blocks);
}

void input_grad(void* dx, const void* dy, const void* weight, const SparseConv2d& conv,
                GradWrite write, void* workspace, const Launch& launch) {
  for (const SparseTaps& taps : conv.input_grad()) {
    const float* values = values_of(taps, weight, workspace);
    int64_t blocks = ceil_div(launch.batch, kLanes);
    const PixelGrid2d pixels = grid_of(taps, blocks);
    run_pass({taps, pixels, values, static_cast<const float*>(dy), static_cast<float*>(dx), nullptr,
              write == GradWrite::accumulate},
             blocks);
  }
}

/// The gradient of the kept weights.
struct GradPass {
  const SparseTaps& taps;
  PixelGrid2d pixels;  ///< out: of dy
  const float* dy;
  const float* x;
};

/// Entries whose sums are in flight at a time.
constexpr int kEntries = 4;

/// sums[e] = sum over the tile's pixels of cells of dy and of x.
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

template <int kHeight, int kWidth, bool kNeighbours>
void add_tile(const GradPass& pass, const float* x, const float* dy, float* gradient) {
  const SparseTaps& taps = pass.taps;
  const int64_t x_row = pass.pixels.in_row * kLanes, x_column = pass.pixels.in_column * kLanes;
  const int64_t dy_row = pass.pixels.out_row * kLanes;
  const int64_t dy_column = pass.pixels.out_column * kLanes;
  for (int64_t row = 0; row < taps.segments * taps.out_channels; ++row) {
    const int64_t begin = taps.starts[static_cast<size_t>(row)];
    const int64_t end = taps.starts[static_cast<size_t>(row + 1)];
    const float* out = dy + row % taps.out_channels * pass.pixels.out_channel * kLanes;
    for (int64_t k = begin; k < end; k += kVecWidth) {
      const int count = static_cast<int>(std::min<int64_t>(kVecWidth, end - k));
      Vec sums[kVecWidth] = {};
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
      const Vec total = add_up_lanes(sums);
      if (count == kVecWidth)
        store(gradient + k, load(gradient + k) + total);
      else
        for (int i = 0; i < count; ++i)
          gradient[k + i] += total[i];
    }
  }
}

/// Each thread adds the gradients of its share of the pixels to its part of `partials`.
void run_grad_pass(const GradPass& pass, int64_t blocks, float* partials, int64_t partial_stride) {
  const PixelGrid2d& pixels = pass.pixels;
  const Tiling tiling(pixels);
  parallel_for(blocks * tiling.strips(), [&](int64_t begin, int64_t end, int thread) {
    float* const gradient = partials + thread * partial_stride;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t block = item / tiling.strips();
      tiling.for_each_tile(item % tiling.strips(), [&](const Tile& tile) {
        const float* x = pass.x + (block * pixels.in_block + pixels.in_first +
                                   tile.row * pixels.in_row + tile.column * pixels.in_column) *
                                      kLanes;
        const float* dy = pass.dy + (block * pixels.out_block + tile.row * pixels.out_row +
                                     tile.column * pixels.out_column) *
                                        kLanes;
        with_tile_size(tile, [&](auto height, auto width) {
          if (pixels.in_column == 1)
            add_tile<height, width, true>(pass, x, dy, gradient);
          else
            add_tile<height, width, false>(pass, x, dy, gradient);
        });
      });
    }
  });
}

/// dbias[o] (=, +=) the sum of dy's cells.
void bias_grad(float* dbias, const float* dy, const PixelGrid2d& pixels, int64_t channels,
               int64_t blocks, GradWrite write) {
  parallel_for(channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      Vec sum[kVecWidth] = {};
      for (int64_t block = 0; block < blocks; ++block)
        for (int64_t i = 0; i < pixels.rows; ++i)
          for (int64_t j = 0; j < pixels.columns; ++j) {
            const float* cell = dy + (block * pixels.out_block + o * pixels.out_channel +
                                      i * pixels.out_row + j * pixels.out_column) *
                                         kLanes;
            for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
              sum[0] += load(cell + lane);
          }
      const float total = add_up_lanes(sum)[0];
      dbias[o] = total + (write == GradWrite::accumulate ? dbias[o] : 0.0f);
    }
  });
}

void weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                 const SparseConv2d& conv, GradWrite write, void* workspace, const Launch& launch) {
  const SparseTaps& taps = conv.forward();
  int64_t blocks = ceil_div(launch.batch, kLanes);
  const PixelGrid2d pixels = grid_of(taps, blocks);
  const auto stride = static_cast<int64_t>(entry_bytes(taps) / sizeof(float));
  auto* partials = static_cast<float*>(workspace);
  const int threads = thread_count();
  parallel_for(stride * threads, [&](int64_t begin, int64_t end, int) {
    std::memset(partials + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
  run_grad_pass({taps, pixels, static_cast<const float*>(dy), static_cast<const float*>(x)}, blocks,
                partials, stride);
  auto* gradient = static_cast<float*>(dweight);
  parallel_for(taps.count(), [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k) {
      float sum = 0;
      for (int t = 0; t < threads; ++t)
        sum += partials[t * stride + k];
      float& to = gradient[taps.weights.empty() ? k : taps.weights[static_cast<size_t>(k)]];
      to = sum + (write == GradWrite::accumulate ? to : 0.0f);
    }
  });
  if (dbias != nullptr)
    bias_grad(static_cast<float*>(dbias), static_cast<const float*>(dy), pixels, taps.out_channels,
              blocks, write);
}

}  // namespace

SparseConv2dKernels sparse_conv2d_kernels() {
  return {workspace_bytes, forward, input_grad, weight_grad};
}

}  // namespace SCULPT_ISA_NAMESPACE
