#pragma once
// Where the kept weights of one convolution are, as lists that kernels walk: for every pass, which
// cells of its input each kept weight meets. A pattern is built once when a mask changes.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/conv2d.h"

namespace sculpt::kernels {

/// Where the pixels of a plane are written and read: distances in cells between neighbouring blocks
/// of images, output channels, rows and columns.
struct PixelGrid2d {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t out_block = 0, out_channel = 0, out_first = 0, out_row = 0, out_column = 0;
  int64_t in_block = 0, in_first = 0, in_row = 0, in_column = 0;
};

/// The kept weights of a pass, as they are run: for each segment of input channels, whose cells
/// stay in cache, and each output channel, entries [begin, end) with begin = starts[segment *
/// out_channels + channel] and end = the next start.
struct SparseTaps {
  PixelGrid2d pixels;
  int64_t out_channels = 0;
  int64_t segments = 0;
  std::vector<int64_t> starts;   ///< [segments * out_channels + 1]
  std::vector<int32_t> offsets;  ///< per entry: cell that it reads, from the pixel's first
  std::vector<int32_t> weights;  ///< per entry: where its weight is stored; empty: in this order

  int64_t count() const { return static_cast<int64_t>(offsets.size()); }
};

class SparsePattern {
 public:
  /// mask: 0/1 per weight, OIHW. Throws Error if offsets do not fit 32 bits.
  SparsePattern(const Conv2dShape& shape, std::span<const uint8_t> mask);

  /// Kernels are then given arrays of the kept weights only, in the order of their indices.
  void keep_only();

  const Conv2dShape& shape() const { return shape_; }
  int64_t kept() const { return forward_.count(); }

  const SparseTaps& forward() const { return forward_; }
  /// One for each pair of (row, column) modulo the stride: pixels of one such class have the same
  /// taps.
  std::span<const SparseTaps> input_grad() const { return input_grad_; }

 private:
  Conv2dShape shape_;
  SparseTaps forward_;
  std::vector<SparseTaps> input_grad_;
};

}  // namespace sculpt::kernels
