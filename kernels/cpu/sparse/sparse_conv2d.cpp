// Sparse convolution. A tile of pixels keeps its sums of one output channel in registers while the
// kernel walks the kept weights of the channel. Each kept weight is broadcast and multiplied with
// the cells that it meets (including zeros of the border, which costs less than cutting windows).
// Input cells come from cache: a thread processes all output channels of one tile and one segment
// of input channels before it goes on. Each entry costs 4 bytes of value and 4 bytes of offset,
// which feed the multiply-adds of a whole tile.
//
// The weight gradient keeps the cells of dy in registers instead. Lanes are added up at the end or,
// if there are many entries, per tile for one vector of entries at a time.

#include "kernels/cpu/sparse/sparse_conv2d.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/sparse/tiles.h"

namespace SCULPT_ISA_NAMESPACE {
namespace {

size_t align_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Bytes of an array with one float per entry; 64-byte aligned.
size_t entry_bytes(const SparseTaps& taps) {
  return align_up(static_cast<size_t>(taps.count()) * sizeof(float));
}

/// With at most this many entries, a partial gradient keeps a separate sum for each lane. It then
/// fits a cache, and adding up lanes for each tile would take as long as the products.
constexpr int64_t kMostWithLanes = 2048;

bool keeps_lanes(const SparseTaps& taps) {
  return taps.count() <= kMostWithLanes;
}

/// The number of floats of one partial gradient.
int64_t partial_floats(const SparseTaps& taps) {
  const int64_t floats = taps.count() * (keeps_lanes(taps) ? kVecWidth : 1);
  return static_cast<int64_t>(align_up(static_cast<size_t>(floats) * sizeof(float)) /
                              sizeof(float));
}

size_t partial_bytes(const SparsePattern& conv) {
  return static_cast<size_t>(partial_floats(conv.forward())) * sizeof(float);
}

size_t workspace_bytes(const SparsePattern& conv) {
  // The workspace holds either the values of one pass or one partial gradient per thread.
  return std::max(entry_bytes(conv.forward()),
                  partial_bytes(conv) * static_cast<size_t>(thread_count()));
}

/// Returns the pixels of all blocks of a batch. 1x1 planes are tiled over the blocks of the batch
/// instead of over pixels: `blocks` becomes the number of columns, and is set to 1.
PixelGrid2d grid_of(const SparseTaps& taps, int64_t& blocks) {
  PixelGrid2d pixels = taps.pixels;
  if (pixels.rows * pixels.columns > 1) return pixels;
  pixels.columns = blocks;
  pixels.out_column = pixels.out_block;
  pixels.in_column = pixels.in_block;
  blocks = 1;
  return pixels;
}

/// Returns the index at which an entry's weight is stored.
int64_t stored_at(const SparseTaps& taps, int64_t entry) {
  return taps.weights.empty() ? entry : taps.weights[static_cast<size_t>(entry)];
}

void gather_values(float* values, const float* weight, const SparseTaps& taps) {
  parallel_for(taps.count(), [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k)
      values[k] = weight[stored_at(taps, k)];
  });
}

/// Returns the weights in the order of the entries. They are gathered in the workspace unless they
/// are stored in this order.
const float* values_of(const SparseTaps& taps, const void* weight, void* workspace) {
  const auto* stored = static_cast<const float*>(weight);
  if (taps.weights.empty()) return stored;
  auto* values = static_cast<float*>(workspace);
  gather_values(values, stored, taps);
  return values;
}

/// A pass that writes activations: forward or input gradient.
struct Pass {
  const SparseTaps& taps;
  PixelGrid2d pixels;
  const float* values;
  const float* x;
  float* y;
  const float* bias;  ///< per output channel, or null
  bool accumulate;
};

/// Computes the sums of output channels [out_begin, out_end) for one tile. x and y point at the
/// cells of the tile's first pixel. to_next: floats from y to the next tile.
template <int kHeight, int kWidth, bool kNeighbours>
void run_tile(const Pass& pass, const float* x, float* y, int64_t to_next, int64_t out_begin,
              int64_t out_end) {
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
      // A pass that accumulates reads old values from memory, so those of the next tile are
      // prefetched.
      if (pass.accumulate && segment == 0)
        for (int i = 0; i < kHeight; ++i)
          for (int j = 0; j < kWidth; ++j)
            prefetch_to_write(out + i * y_row + j * y_column + to_next);
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
    const int64_t to_next = tiling.to_next(tile, pixels.out_row, pixels.out_column) * kLanes;
    with_tile_size(tile, [&](auto height, auto width) {
      if (pixels.in_column == 1)
        run_tile<height, width, true>(pass, x, y, to_next, out_begin, out_end);
      else
        run_tile<height, width, false>(pass, x, y, to_next, out_begin, out_end);
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

Pass forward_pass(void* y, const void* x, const float* values, const void* bias,
                  const SparsePattern& conv, const PixelGrid2d& pixels) {
  return {conv.forward(),
          pixels,
          values,
          static_cast<const float*>(x),
          static_cast<float*>(y),
          static_cast<const float*>(bias),
          false};
}

Pass input_grad_pass(void* dx, const void* dy, const float* values, const SparseTaps& taps,
                     const PixelGrid2d& pixels, GradWrite write) {
  return {taps,
          pixels,
          values,
          static_cast<const float*>(dy),
          static_cast<float*>(dx),
          nullptr,
          write == GradWrite::accumulate};
}

void forward(void* y, const void* x, const void* weight, const void* bias,
             const SparsePattern& conv, void* workspace, const Launch& launch) {
  int64_t blocks = ceil_div(launch.batch, kLanes);
  const PixelGrid2d pixels = grid_of(conv.forward(), blocks);
  run_pass(forward_pass(y, x, values_of(conv.forward(), weight, workspace), bias, conv, pixels),
           blocks);
}

void input_grad(void* dx, const void* dy, const void* weight, const SparsePattern& conv,
                GradWrite write, void* workspace, const Launch& launch) {
  for (const SparseTaps& taps : conv.input_grad()) {
    int64_t blocks = ceil_div(launch.batch, kLanes);
    const PixelGrid2d pixels = grid_of(taps, blocks);
    run_pass(input_grad_pass(dx, dy, values_of(taps, weight, workspace), taps, pixels, write),
             blocks);
  }
}

/// Arguments for the gradient of the kept weights.
struct GradPass {
  const SparseTaps& taps;
  PixelGrid2d pixels;  ///< the out_... members are those of dy
  const float* dy;
  const float* x;
  int64_t in_channels;  ///< cells of them are this far apart:
  int64_t in_channel;
};

GradPass grad_pass(const void* dy, const void* x, const SparsePattern& conv,
                   const PixelGrid2d& pixels) {
  return {conv.forward(),
          pixels,
          static_cast<const float*>(dy),
          static_cast<const float*>(x),
          conv.shape().in.channels,
          conv.shape().in.plane_stride()};
}

/// The number of entries whose sums are computed at the same time.
constexpr int kEntries = 4;

/// sums[e] += sum over the tile's pixels of the products of cells of dy and x.
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

/// Runs the weight gradient in parallel. Each thread adds the gradients of its share of the pixels
/// to its own part of `partials`.
void run_grad_pass(const GradPass& pass, int64_t blocks, float* partials, int64_t partial_stride) {
  parallel_for(blocks * Tiling(pass.pixels).strips(), [&](int64_t begin, int64_t end, int thread) {
    add_strips(pass, begin, end, partials + thread * partial_stride);
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

void sum_partials(void* dweight, const void* partials, int64_t count, const SparsePattern& conv,
                  GradWrite write) {
  const SparseTaps& taps = conv.forward();
  const int64_t stride = partial_floats(taps);
  const int64_t lanes = keeps_lanes(taps) ? kVecWidth : 1;
  const auto* partial = static_cast<const float*>(partials);
  auto* gradient = static_cast<float*>(dweight);
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

void weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                 const SparsePattern& conv, GradWrite write, void* workspace,
                 const Launch& launch) {
  const SparseTaps& taps = conv.forward();
  int64_t blocks = ceil_div(launch.batch, kLanes);
  const PixelGrid2d pixels = grid_of(taps, blocks);
  const int64_t stride = partial_floats(taps);
  auto* partials = static_cast<float*>(workspace);
  const int threads = thread_count();
  parallel_for(stride * threads, [&](int64_t begin, int64_t end, int) {
    std::memset(partials + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
  run_grad_pass(grad_pass(dy, x, conv, pixels), blocks, partials, stride);
  sum_partials(dweight, partials, threads, conv, write);
  if (dbias != nullptr)
    bias_grad(static_cast<float*>(dbias), static_cast<const float*>(dy), pixels, taps.out_channels,
              blocks, write);
}

// The values of the forward pass lie first, followed by the values of each class of the input
// gradient.

size_t values_bytes(const SparsePattern& conv) {
  size_t bytes = entry_bytes(conv.forward());
  for (const SparseTaps& taps : conv.input_grad())
    bytes += entry_bytes(taps);
  return bytes;
}

/// Returns the distance, in floats, from the values of these taps to those of the next taps.
int64_t values_stride(const SparseTaps& taps) {
  return static_cast<int64_t>(entry_bytes(taps) / sizeof(float));
}

void gather(void* values, const void* weight, const SparsePattern& conv) {
  auto* to = static_cast<float*>(values);
  gather_values(to, static_cast<const float*>(weight), conv.forward());
  to += values_stride(conv.forward());
  for (const SparseTaps& taps : conv.input_grad()) {
    gather_values(to, static_cast<const float*>(weight), taps);
    to += values_stride(taps);
  }
}

/// Returns the pixels of rows [begin, end) of a grid.
PixelGrid2d rows_of(const PixelGrid2d& grid, int64_t begin, int64_t end) {
  PixelGrid2d pixels = grid;
  pixels.rows = end - begin;
  pixels.out_first += begin * grid.out_row;
  pixels.in_first += begin * grid.in_row;
  return pixels;
}

void forward_block(void* y, const void* x, const void* values, const SparsePattern& conv,
                   const RowRange& rows, const Launch& /*launch*/) {
  run_pass_here(forward_pass(y, x, static_cast<const float*>(values), nullptr, conv,
                             rows_of(conv.forward().pixels, rows.begin, rows.end)));
}

void input_grad_block(void* dx, const void* dy, const void* values, const SparsePattern& conv,
                      GradWrite write, const RowRange& rows, const Launch& /*launch*/) {
  const int64_t stride = conv.shape().stride;
  const float* from = static_cast<const float*>(values) + values_stride(conv.forward());
  for (const SparseTaps& taps : conv.input_grad()) {
    // The taps of this class write every stride-th row of dx, starting at row row_class.
    const int64_t row_class = taps.pixels.out_first / conv.shape().in.row_stride();
    const int64_t begin = ceil_div(std::max<int64_t>(0, rows.begin - row_class), stride);
    const int64_t end = ceil_div(std::max<int64_t>(0, rows.end - row_class), stride);
    run_pass_here(input_grad_pass(dx, dy, from, taps, rows_of(taps.pixels, begin, end), write));
    from += values_stride(taps);
  }
}

void weight_grad_block(void* partial, const void* dy, const void* x, const SparsePattern& conv,
                       const RowRange& rows, const Launch& /*launch*/) {
  const PixelGrid2d pixels = rows_of(conv.forward().pixels, rows.begin, rows.end);
  add_strips(grad_pass(dy, x, conv, pixels), 0, Tiling(pixels).strips(),
             static_cast<float*>(partial));
}

}  // namespace

SparseConv2dKernels sparse_conv2d_kernels() {
  return {workspace_bytes,
          forward,
          input_grad,
          weight_grad,
          {values_bytes, gather, forward_block, input_grad_block, partial_bytes, weight_grad_block,
           sum_partials}};
}

}  // namespace SCULPT_ISA_NAMESPACE
