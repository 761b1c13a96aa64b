#pragma once
// Windows of tiles (kernels/tap_windows.h): copying them, and the sums of entries over them. A cell
// of a window lies at a distance from the window's first cell that is a compile-time constant, so
// that multiply-adds read it without computing addresses.

#include "kernels/cpu/vec.h"
#include "kernels/sparse_pattern.h"

namespace SCULPT_ISA_NAMESPACE {

/// The sizes of a tile and of its window, as compile-time constants.
template <bool kWide, int kTileHeight, int kTileWidth>
struct WindowTile {
  static constexpr int kHeight = kTileHeight, kWidth = kTileWidth;
  static constexpr WindowShape kShape = kWide ? kWideWindow : kNarrowWindow;
  static_assert(kHeight + 2 <= kShape.rows && kWidth + 2 <= kShape.columns);
};

/// Memory for the window of a thread.
inline float* window_memory() {
  alignas(64) static thread_local float
      cells[kWindowChannels * std::max(kWideWindow.cells(), kNarrowWindow.cells()) * kLanes];
  return cells;
}

/// Calls body(WindowTile) for a tile of height x width pixels if there are windows for it. Returns
/// false if there are none.
template <int kHeight, int kWidth, class Body>
[[gnu::always_inline]] inline bool with_window(const SparseTaps& taps, const Body& body) {
  if constexpr (kWidth >= 4) {
    if (!taps.windows) return false;
    const bool wide = taps.windows->shape.columns == kWideWindow.columns;
    if constexpr (kHeight <= 2)
      if (wide) return body(WindowTile<true, kHeight, kWidth>()), true;
    if constexpr (kWidth <= 4)
      if (!wide) return body(WindowTile<false, kHeight, kWidth>()), true;
  }
  return false;
}

/// Copies the window of a tile and a segment. x points at the cell of the tile's first pixel.
template <class Tile>
const float* copy_window(const TapWindows& windows, const float* x, int64_t segment) {
  constexpr int64_t kRow = Tile::kShape.columns * kLanes;
  const int64_t first = segment * windows.channels;
  const int64_t last = std::min(windows.in.channels, first + windows.channels);
  float* const memory = window_memory();
  float* to = memory;
  for (int64_t c = first; c < last; ++c, to += Tile::kShape.cells() * kLanes) {
    const float* from =
        x + (c * windows.in.channel + windows.first_row * windows.in.row + windows.first_column) *
                kLanes;
    for (int i = 0; i < Tile::kHeight + 2; ++i, from += windows.in.row * kLanes)
      for (int64_t j = 0; j < (Tile::kWidth + 2) * kLanes; j += kVecWidth)
        store(to + i * kRow + j, load(from + j));
  }
  return memory;
}

}  // namespace SCULPT_ISA_NAMESPACE
