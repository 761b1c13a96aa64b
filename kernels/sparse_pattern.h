#pragma once
// Positions of the kept weights of one convolution, as lists that kernels walk. For every pass, a
// list gives the input cells that each kept weight is multiplied with. A pattern is built once when
// a mask changes.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/conv2d.h"
#include "kernels/tap_windows.h"

namespace sculpt::kernels {

/// Describes where a pass writes and reads the pixels of a plane: distances in cells between
/// neighbouring blocks of images, output channels, rows and columns.
struct PixelGrid2d {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t out_block = 0, out_channel = 0, out_first = 0, out_row = 0, out_column = 0;
  int64_t in_block = 0, in_first = 0, in_row = 0, in_column = 0;
};

/// The kept weights of a pass, in the order in which kernels process them. Input channels are split
/// into segments whose cells stay in cache. The entries of a segment and an output channel are
/// [begin, end), where begin = starts[segment * out_channels + channel] and end is the next element
/// of `starts`.
struct SparseTaps {
  PixelGrid2d pixels;
  int64_t out_channels = 0;
  int64_t segments = 0;
  std::vector<int64_t> starts;   ///< [segments * out_channels + 1]
  std::vector<int32_t> offsets;  ///< per entry: its input cell, relative to the pixel's first cell
  std::vector<int32_t> weights;  ///< per entry: index of its stored weight; empty: entry order
  /// The same entries, in the same order, for kernels that work on windows; empty if such kernels
  /// are slower.
  std::optional<TapWindows> windows;

  int64_t count() const { return static_cast<int64_t>(offsets.size()); }
};

class SparsePattern {
 public:
  /// mask: 0/1 per weight, OIHW. Throws Error if offsets do not fit 32 bits.
  SparsePattern(const Conv2dShape& shape, std::span<const uint8_t> mask);

  /// Switches to packed weights: kernels are then given arrays of the kept weights only, in
  /// ascending order of weight index.
  void keep_only();

  const Conv2dShape& shape() const { return shape_; }
  int64_t kept() const { return forward_.count(); }

  const SparseTaps& forward() const { return forward_; }
  /// The same entries, in the order that the gradient of the weight needs.
  const SparseTaps& weight_grad() const { return weight_grad_ ? *weight_grad_ : forward_; }
  /// One list for each pair of (row, column) modulo the stride, because pixels of one such class
  /// have the same taps.
  std::span<const SparseTaps> input_grad() const { return input_grad_; }

 private:
  Conv2dShape shape_;
  SparseTaps forward_;
  std::optional<SparseTaps> weight_grad_;  ///< empty: the same as forward_
  std::vector<SparseTaps> input_grad_;
};

}  // namespace sculpt::kernels
