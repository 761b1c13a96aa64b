#pragma once
// Tiles of pixels. The cells of a tile, or its sums, stay in registers while a kernel walks the
// list of kept weights.

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/vec.h"
#include "kernels/sparse_conv2d.h"

namespace SCULPT_ISA_NAMESPACE {

/// Pixels of the largest tile. 32 registers hold the sums of 16 pixels; 16 registers hold the sums
/// of 8.
inline constexpr int kTilePixels = kVecWidth == 16 ? 16 : 8;

/// A rectangle of pixels. Its height x width is 1 x 1, 1 x 2, 1 x 4, 1 x 8, 2 x 4, 2 x 8 or 4 x 4,
/// with at most kTilePixels pixels.
struct Tile {
  int64_t row, column;
  int height, width;
};

/// The partition of a plane into tiles, which do not overlap.
class Tiling {
 public:
  explicit Tiling(const PixelGrid2d& pixels)
      : rows_(pixels.rows),
        columns_(pixels.columns),
        tall_(columns_ < 8 && columns_ >= 4 && kTilePixels == 16 ? 4 : 2) {}

  /// Calls visit(Tile) for all tiles of a strip. A strip is `tall_` rows of the plane.
  template <class Visit>
  void for_each_tile(int64_t strip, const Visit& visit) const {
    const int64_t first = strip * tall_;
    const int64_t rows = std::min(tall_, rows_ - first);
    for (int64_t column = 0; column < columns_;) {
      const int width = width_at(columns_ - column);
      // Narrow tiles, and the rows left over at the bottom, are visited one row at a time.
      const bool whole = rows == tall_ && width >= 4 && tall_ * width <= kTilePixels;
      if (whole)
        visit(Tile{first, column, static_cast<int>(tall_), width});
      else
        for (int64_t row = 0; row < rows; ++row)
          visit(Tile{first + row, column, 1, width});
      column += width;
    }
  }
  /// Returns the distance from a tile to the next one, which may lie in the next strip. `row` and
  /// `column` are the distances between neighbouring rows and columns.
  int64_t to_next(const Tile& tile, int64_t row, int64_t column) const {
    if (tile.column + tile.width < columns_) return tile.width * column;
    return (tall_ - tile.row % tall_) * row - tile.column * column;
  }
  int64_t strips() const { return ceil_div(rows_, tall_); }

 private:
  static int width_at(int64_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

  int64_t rows_, columns_, tall_;
};

/// Calls body(height, width) with the tile's sizes as compile-time constants.
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
