#pragma once
// Windows of tiles (kernels/tap_windows.h): copying them, and the sums of entries over them. A cell
// of a window lies at a distance from the window's first cell that is a compile-time constant, so
// that multiply-adds read it without computing addresses.

#include "kernels/cpu/vec.h"
#include "kernels/sparse_pattern.h"

namespace SCULPT_ISA_NAMESPACE {

/// The sizes of a tile and of its window, as compile-time constants.
template <WindowShape kWindow, int kTileHeight, int kTileWidth>
struct WindowTile {
  static constexpr int kHeight = kTileHeight, kWidth = kTileWidth;
  static constexpr WindowShape kShape = kWindow;
  static constexpr int kStride = kShape == kStridedWindow ? 2 : 1;
  /// Floats between the cells that neighbouring rows of pixels meet.
  static constexpr int64_t kRow = kStride * kShape.columns * kLanes;
  static_assert((kHeight - 1) * kStride + 3 <= kShape.rows &&
                (kStride == 2 ? kWidth < kStridedOdd : kWidth + 2 <= kShape.columns));
};

/// Memory for the window of a thread.
inline float* window_memory() {
  alignas(64) static thread_local float cells[kWindowCells * kLanes];
  return cells;
}

/// Calls body(WindowTile) for a tile of height x width pixels if there are windows for it. Returns
/// false if there are none.
template <int kHeight, int kWidth, class Body>
[[gnu::always_inline]] inline bool with_window(const SparseTaps& taps, const Body& body) {
  if (!taps.windows) return false;
  const WindowShape shape = taps.windows->shape;
  if constexpr (kHeight <= 2 && kWidth >= 4) {
    if (shape == kWideWindow) return body(WindowTile<kWideWindow, kHeight, kWidth>()), true;
    if (shape == kStridedWindow) return body(WindowTile<kStridedWindow, kHeight, kWidth>()), true;
  }
  if constexpr (kWidth == 4)
    if (shape == kNarrowWindow) return body(WindowTile<kNarrowWindow, kHeight, kWidth>()), true;
  return false;
}

/// Copies `count` cells that lie kStep cells apart side by side.
template <int kStep>
[[gnu::always_inline]] inline void copy_cells(float* to, const float* from, int64_t count) {
  for (int64_t j = 0; j < count; ++j)
    for (int64_t lane = 0; lane < kLanes; lane += kVecWidth)
      store(to + j * kLanes + lane, load(from + j * kStep * kLanes + lane));
}

/// Copies the window of a tile and a segment, without the cells that no entry meets, which may lie
/// outside the activation. x points at the cell of the tile's first pixel.
template <class Tile>
const float* copy_window(const TapWindows& windows, const float* x, int64_t segment) {
  constexpr int64_t kWidth = Tile::kWidth;
  const int64_t rows = (Tile::kHeight - 1) * Tile::kStride + windows.tap_rows;
  const int64_t first = segment * windows.channels;
  const int64_t last = std::min(windows.in.channels, first + windows.channels);
  float* const memory = window_memory();
  for (int64_t c = first; c < last; ++c) {
    float* to = memory + (c - first) * Tile::kShape.cells() * kLanes;
    const float* from =
        x + (c * windows.in.channel + windows.first_row * windows.in.row + windows.first_column) *
                kLanes;
    for (int64_t i = 0; i < rows; ++i) {
      if constexpr (Tile::kStride == 1) {
        copy_cells<1>(to, from, kWidth - 1 + windows.tap_columns);
      } else {
        copy_cells<2>(to, from, kWidth + (windows.tap_columns - 1) / 2);
        if (windows.tap_columns > 1)
          copy_cells<2>(to + kStridedOdd * kLanes, from + kLanes, kWidth);
      }
      to += Tile::kShape.columns * kLanes;
      from += windows.in.row * kLanes;
    }
  }
  return memory;
}

}  // namespace SCULPT_ISA_NAMESPACE
