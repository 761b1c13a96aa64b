#pragma once
// Lists of kept weights for kernels that work on windows. The window of a tile of pixels holds the
// input cells that the entries of one segment meet there. A kernel copies a window side by side
// into the first-level cache, and then walks the entries of all output channels. Entries that meet
// cells close to one another in a row of the window form a group, for which the kernel loads each
// cell only once.

#include <cstdint>
#include <vector>

#include "kernels/conv2d.h"

namespace sculpt::kernels {

struct PixelGrid2d;

/// A kept weight in one pass.
struct TapEntry {
  int64_t out_channel = 0;
  int64_t in_channel = 0;
  int64_t row = 0, column = 0;  ///< of its input cell, relative to the pixel's first cell
  int64_t weight = 0;           ///< index of the weight
};

/// The input activation of a pass.
struct TapInput {
  int64_t channels = 0;
  int64_t channel = 0;  ///< distance in cells between neighbouring channels
  int64_t row = 0;      ///< distance in cells between neighbouring rows

  int64_t offset(const TapEntry& e) const {
    return e.in_channel * channel + e.row * row + e.column;
  }
};

/// The largest window of a tile: its rows, and the columns of a row.
struct WindowShape {
  int64_t rows = 0;
  int64_t columns = 0;
  constexpr int64_t cells() const { return rows * columns; }
  bool operator==(const WindowShape&) const = default;
};
inline constexpr WindowShape kWideWindow = {4, 10};   ///< tiles of up to 2 x 8 pixels
inline constexpr WindowShape kNarrowWindow = {6, 6};  ///< tiles of up to 4 x 4 pixels
/// Tiles of up to 2 x 8 pixels of a pass with stride 2. A row has the 9 even columns of the input
/// first and then the 8 odd columns, so that the cells that neighbouring pixels meet are
/// neighbours, as with stride 1.
inline constexpr WindowShape kStridedWindow = {5, 17};
inline constexpr int64_t kStridedOdd = 9;  ///< place of the first odd column

/// A window holds at most this many cells of all its input channels, or 40 KiB with 16 images in a
/// cell. With fewer cells, a kernel loads and stores sums more often.
inline constexpr int64_t kWindowCells = 16 * kWideWindow.cells();

/// The cells of a group's entries, relative to the cell of the first of them.
enum class TapGroup { single, neighbours, outer, triple };  // {0}, {0, 1}, {0, 2}, {0, 1, 2}
inline constexpr int kTapGroups = 4;

/// The groups of the entries of a pass. A list is the entries of a segment and an output channel,
/// in the order of SparseTaps::starts. The entries of a list are ordered by the kind of their
/// group.
struct TapWindows {
  WindowShape shape;
  int64_t channels = 0;      ///< input channels of a segment; the last segment may have fewer
  int64_t first_row = 0;     ///< row and column of the window's first cell, relative to the first
  int64_t first_column = 0;  ///< cell of the tile's first pixel
  int64_t tap_rows = 0;      ///< rows and columns of cells that the entries of one pixel meet, at
  int64_t tap_columns = 0;   ///< most 3 x 3
  TapInput in;
  std::vector<int64_t> starts;  ///< [lists + 1]: the first group of a list
  std::vector<int32_t> counts;  ///< [lists][kTapGroups]: the number of groups of each kind
  std::vector<int32_t>
      group_cells;  ///< per group: the cell of the window that its first entry meets
  std::vector<int32_t> entry_cells;  ///< per entry: the cell of the window that it meets
};

/// The sums of a pass: one for each pixel of an output channel (forward pass and input gradient),
/// or one for each entry (gradient of the weight).
enum class TapSums { per_pixel, per_entry };

/// Returns true if kernels that work on windows are faster for these entries, as measured: entries
/// of a 3x3 window, stride 1 or 2, and so many of them that copying the window is little work.
bool windows_pay(const PixelGrid2d& pixels, int64_t in_channels, int64_t out_channels,
                 const std::vector<TapEntry>& entries, TapSums sums);

/// Returns the number of input channels of a segment.
int64_t window_channels(const PixelGrid2d& pixels, int64_t in_channels);

/// Arranges entries in groups. The entries are sorted by list; their order within each list
/// changes. `lists` is the number of lists.
TapWindows arrange_windows(const PixelGrid2d& pixels, const TapInput& in, int64_t out_channels,
                           int64_t lists, std::vector<TapEntry>& entries);

}  // namespace sculpt::kernels
