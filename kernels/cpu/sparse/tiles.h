#pragma once
// Tiles of pixels whose cells, or sums, stay in registers while the kept weights pass by.

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/vec.h"
#include "kernels/sparse_conv2d.h"

namespace SCULPT_ISA_NAMESPACE {

/// Pixels of the largest tile: sums of 16 in 32 registers, of 8 in 16.
inline constexpr int kTilePixels = kVecWidth == 16 ? 16 : 8;

/// A rectangle of pixels, at most kTilePixels of them: height x width is one of 1 x 1, 1 x 2, 1 x
/// 4, 1 x 8, 2 x 4, 2 x 8, 4 x 4 (what fits kTilePixels).
struct Tile {
  int64_t row, column;
  int height, width;
};

/// How a plane is cut into tiles, which do not overlap.
class Tiling {
 public:
  explicit Tiling(const PixelGrid2d& pixels)
      : rows_(pixels.rows),
        columns_(pixels.columns),
        tall_(columns_ < 8 && columns_ >= 4 && kTilePixels == 16 ? 4 : 2) {}

  /// Calls visit(Tile) for all tiles of the strip, a stretch of rows.
  template <class Visit>
  void for_each_tile(int64_t strip, const Visit& visit) const {
    const int64_t first = strip * tall_;
    const int64_t rows = std::min(tall_, rows_ - first);
    for (int64_t column = 0; column < columns_;) {
      const int width = width_at(columns_ - column);
      // Narrow tiles, and rows that are left over, one row at a time.
      const bool whole = rows == tall_ && width >= 4 && tall_ * width <= kTilePixels;
      if (whole)
        visit(Tile{first, column, static_cast<int>(tall_), width});
      else
        for (int64_t row = 0; row < rows; ++row)
          visit(Tile{first + row, column, 1, width});
      column += width;
    }
  }
  /// From a tile to the one after it, of the same strip or the next one, where neighbouring rows
  /// and columns are `row` and `column` apart.
  int64_t to_next(const Tile& tile, int64_t row, int64_t column) const {
    if (tile.column + tile.width < columns_) return tile.width * column;
    return (tall_ - tile.row % tall_) * row - tile.column * column;
  }
  int64_t strips() const { return ceil_div(rows_, tall_); }

 private:
  static int width_at(int64_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

  int64_t rows_, columns_, tall_;
};

/// body(height, width) with the tile's sizes as compile-time constants.
template <class Body>
void with_tile_size(const Tile& tile, const Body& body) {
  using std::integral_constant;
  const auto of_width = [&](auto height) {
    switch (tile.width) {
      case 8:
        if constexpr (height * 8 <= kTilePixels) return body(height, integral_constant<int, 8>{});
        break;
      case 4:
        return body(height, integral_constant<int, 4>{});
      case 2:
        if constexpr (height == 1) return body(height, integral_constant<int, 2>{});
        break;
      default:
        if constexpr (height == 1) return body(height, integral_constant<int, 1>{});
        break;
    }
  };
  switch (tile.height) {
    case 4:
      if constexpr (kTilePixels == 16) return of_width(integral_constant<int, 4>{});
      break;
    case 2:
      return of_width(integral_constant<int, 2>{});
    default:
      return of_width(integral_constant<int, 1>{});
  }
}

}  // namespace SCULPT_ISA_NAMESPACE
