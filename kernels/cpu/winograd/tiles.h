#pragma once
// The tiles of a batch of planes: each has 4x4 cells of a convolution's output and the 6x6 cells of
// its input that they depend on.

#include <algorithm>
#include <cstdint>

#include "kernels/common/layout.h"
#include "kernels/cpu/vec.h"
#include "kernels/cpu/winograd/transforms.h"
#include "kernels/winograd.h"

namespace SCULPT_ISA_NAMESPACE {

/// The part of a tile that lies in a plane. Cells at or beyond `rows` or `columns` lie outside the
/// plane; they are read as zero and not written.
struct TileCells {
  int64_t first = 0;  ///< offset of the first cell, in floats, from channel 0 of the activation
  int64_t rows = 0;
  int64_t columns = 0;
};

/// Requests the cells of a tile into the first-level cache, except the first `known` columns. The
/// planes of channels lie far apart, which the processor's own prefetching does not foresee.
[[gnu::always_inline]] inline void prefetch_tile(const float* plane, const TileCells& tile,
                                                 int64_t row_stride, int64_t known) {
  for (int64_t i = 0; i < tile.rows; ++i)
    for (int64_t j = known; j < tile.columns; ++j)
      __builtin_prefetch(plane + tile.first + i * row_stride + j * kLanes, 0, 3);
}

/// The tiles of all blocks of a batch.
class WinogradTiles {
 public:
  WinogradTiles(const ActivationShape& in, const ActivationShape& out, int64_t padding,
                int64_t blocks)
      : in_(in),
        out_(out),
        padding_(padding),
        rows_(ceil_div(out.height, kTile)),
        columns_(ceil_div(out.width, kTile)),
        count_(blocks * rows_ * columns_) {}

  int64_t count() const { return count_; }
  /// Returns the number of tiles side by side in a plane.
  int64_t columns() const { return columns_; }

  TileCells out(int64_t tile) const { return cells(out_, tile, 0, kTile, 0); }
  /// The first cells, and the cells behind the end of the plane, may lie in the halo, which is
  /// zero.
  TileCells in(int64_t tile) const { return cells(in_, tile, -padding_, kTileIn, padding_); }

 private:
  TileCells cells(const ActivationShape& shape, int64_t tile, int64_t begin, int64_t size,
                  int64_t readable) const {
    const int64_t row = tile / columns_ % rows_ * kTile + begin;
    const int64_t column = tile % columns_ * kTile + begin;
    const int64_t block = tile / columns_ / rows_;
    return {.first = (block * shape.block_stride() + row * shape.row_stride() + column) * kLanes,
            .rows = std::min(size, shape.height + readable - row),
            .columns = std::min(size, shape.width + readable - column)};
  }

  ActivationShape in_, out_;
  int64_t padding_, rows_, columns_, count_;
};

/// Returns true if Winograd's algorithm needs sufficiently fewer multiplications than direct
/// kernels, which skip padding, if there are enough tiles to make transforming the weights
/// worthwhile, and enough channels to make transforming the tiles worthwhile. Measured in
/// docs/results/winograd.md.
inline bool winograd_pays(const Conv2dShape& shape, int64_t batch) {
  constexpr int64_t kLeastTiles = 4;
  constexpr double kLeastRatio = 1.7;
  constexpr int64_t kLeastChannels = 16;
  if (!winograd_fits(shape) || std::min(shape.in.channels, shape.out.channels) < kLeastChannels)
    return false;
  // Counts the pairs of an output row (or column) and a kernel row that meet the input.
  const auto pairs = [&](int64_t in, int64_t out) {
    int64_t count = 0;
    for (int64_t r = 0; r < 3; ++r)
      count += std::min(out, in + shape.padding - r) - std::max<int64_t>(0, shape.padding - r);
    return count;
  };
  const WinogradTiles tiles(shape.in, shape.out, shape.padding, 1);
  const auto direct = static_cast<double>(pairs(shape.in.height, shape.out.height) *
                                          pairs(shape.in.width, shape.out.width));
  return direct >= kLeastRatio * static_cast<double>(kPoints * tiles.count()) &&
         ceil_div(batch, kLanes) * tiles.count() >= kLeastTiles;
}

/// Loads a column of a tile, one register per cell. Cells beyond the plane are zero.
template <int kSize>
[[gnu::always_inline]] inline void load_column(const float* cell, int64_t row_stride, int64_t rows,
                                               bool inside, Vec (&column)[kSize]) {
  for (int i = 0; i < kSize; ++i)
    column[i] = inside && i < rows ? load(cell + i * row_stride) : Vec{};
}

/// Transforms a tile of kSize x kSize cells to points, which lie `point_stride` floats apart.
/// `transform` is the one-dimensional transform.
template <int kSize, class Transform>
[[gnu::always_inline]] inline void transform_tile(const float* cells, int64_t row_stride,
                                                  int64_t rows, int64_t columns, float* points,
                                                  int64_t point_stride,
                                                  const Transform& transform) {
  Vec by_column[kTileIn][kSize];  // [point of the columns][column]
  for (int j = 0; j < kSize; ++j) {
    Vec column[kSize], values[kTileIn];
    load_column(cells + j * kLanes, row_stride, rows, j < columns, column);
    transform(column, values);
    for (int i = 0; i < kTileIn; ++i)
      by_column[i][j] = values[i];
  }
  for (int i = 0; i < kTileIn; ++i) {
    Vec values[kTileIn];
    transform(by_column[i], values);
    for (int j = 0; j < kTileIn; ++j)
      store(points + (i * kTileIn + j) * point_stride, values[j]);
  }
}

/// The same for tiles of any size. Whole tiles take a path without tests.
template <int kSize, class Transform>
inline void transform_cells(const float* plane, const TileCells& tile, int64_t row_stride,
                            float* points, int64_t point_stride, const Transform& transform) {
  const float* cells = plane + tile.first;
  for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
    if (tile.rows == kSize && tile.columns == kSize)
      transform_tile<kSize>(cells + lane, row_stride, kSize, kSize, points + lane, point_stride,
                            transform);
    else
      transform_tile<kSize>(cells + lane, row_stride, tile.rows, tile.columns, points + lane,
                            point_stride, transform);
}

}  // namespace SCULPT_ISA_NAMESPACE
