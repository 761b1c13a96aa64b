#pragma once
// The matrices that convolutions multiply, as operands of implicit_gemm.h. A pixel is (image, y, x)
// and a tap is (r, s). Offsets within an image are int; offsets of images are int64_t.

#include <bit>

#include "kernels/conv2d.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/element.h"

namespace sculpt::kernels::cuda {

/// Division of 0 <= n < 2^31 by a constant known on the host: a multiplication and a shift.
class FastDivide {
 public:
  FastDivide() : FastDivide(1) {}
  explicit FastDivide(int64_t divisor)
      : divisor_(static_cast<int>(divisor)),
        shift_(31 + std::bit_width(static_cast<uint32_t>(divisor - 1))),
        factor_(
            static_cast<uint32_t>(((uint64_t{1} << shift_) + static_cast<uint64_t>(divisor) - 1) /
                                  static_cast<uint64_t>(divisor))) {}

  __device__ int quotient(int n) const {
    return static_cast<int>((static_cast<uint64_t>(static_cast<uint32_t>(n)) * factor_) >> shift_);
  }
  __device__ int remainder(int n, int quotient) const { return n - quotient * divisor_; }

 private:
  int divisor_;
  int shift_;
  uint32_t factor_;
};

/// A grid of pixels per image, numbered image by image and row by row.
struct PixelGrid {
  PixelGrid() = default;
  PixelGrid(int64_t height, int64_t width) : by_height(height), by_width(width) {}

  struct Pixel {
    int image, y, x;
  };
  __device__ Pixel pixel(int index) const {
    const int row = by_width.quotient(index);
    const int image = by_height.quotient(row);
    return {image, by_height.remainder(row, image), by_width.remainder(index, row)};
  }

  FastDivide by_height;
  FastDivide by_width;
};

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kNowhere = -(1 << 30);  // still negative after any index is added
/// Offset of a row or column outside a matrix. It is negative, and as aligned as the offsets of
/// vectors: an invalid copy reads nothing, but its address must still be aligned.
inline constexpr int kOutside = -64;

/// Rows: pixels of `grid`. Columns: (r, s, channel). The element is data[image][y][x][channel] with
/// y = grid y * scale + shift_y + r * tap_step, x likewise, and zero outside the image.
template <class T>
struct PixelGather {
  const T* data;  ///< the group's first channel
  PixelGrid grid;
  int rows;
  int scale, shift_y, shift_x, tap_step;
  FastDivide by_channels;  ///< channels of a group
  FastDivide by_taps_x;
  int columns;
  int height, width, channels;  ///< sizes of the whole image

  struct Row {
    int64_t offset;
    int y, x;
  };
  struct Column {
    int offset;
    int y, x;
  };

  __device__ Row row(int index) const {
    if (index >= rows) return {0, kNowhere, kNowhere};
    const PixelGrid::Pixel p = grid.pixel(index);
    const int y = p.y * scale + shift_y;
    const int x = p.x * scale + shift_x;
    const int64_t image = static_cast<int64_t>(p.image) * (height * width * channels);
    return {image + (y * width + x) * channels, y, x};
  }
  static __device__ Row from_lane(const Row& row, int lane) {
    return {__shfl_sync(kAllLanes, row.offset, lane), __shfl_sync(kAllLanes, row.y, lane),
            __shfl_sync(kAllLanes, row.x, lane)};
  }
  __device__ Column column(int index) const {
    if (index >= columns) return {0, kNowhere, kNowhere};
    const int tap = by_channels.quotient(index);
    const int r = by_taps_x.quotient(tap);
    const int y = r * tap_step;
    const int x = by_taps_x.remainder(tap, r) * tap_step;
    return {(y * width + x) * channels + by_channels.remainder(index, tap), y, x};
  }
  __device__ bool valid(const Row& row, const Column& column) const {
    return static_cast<unsigned>(row.y + column.y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(row.x + column.x) < static_cast<unsigned>(width);
  }
  __device__ int64_t offset(const Row& row, const Column& column) const {
    return row.offset + column.offset;
  }
};

/// `rows` rows of `columns` elements, `pitch` apart.
template <class T>
struct PlainMatrix {
  using Row = int64_t;  ///< offset; kOutside if outside the matrix
  using Column = int;   ///< index; kOutside if outside the matrix

  const T* data;
  int rows, columns;
  int64_t pitch;

  __device__ int64_t row(int index) const { return index < rows ? index * pitch : kOutside; }
  __device__ int column(int index) const { return index < columns ? index : kOutside; }
  __device__ bool valid(int64_t row, int column) const { return row >= 0 && column >= 0; }
  __device__ int64_t offset(int64_t row, int column) const { return row + column; }
};

/// Weights [o][r][s][c] as rows (r', s', o) and columns c, for the taps r = first_r + r' * step, s
/// likewise.
template <class T>
struct TapRows {
  using Row = int64_t;
  using Column = int;

  const T* data;  ///< the group's first output channel
  int rows;
  FastDivide by_outs;  ///< output channels of a group
  FastDivide by_taps_x;
  int first_r, first_s, step;
  int kernel_w, taps, columns;

  __device__ int64_t row(int index) const {
    if (index >= rows) return kOutside;
    const int tap = by_outs.quotient(index);
    const int r = by_taps_x.quotient(tap);
    const int s = by_taps_x.remainder(tap, r);
    const int place = (first_r + r * step) * kernel_w + first_s + s * step;
    return (static_cast<int64_t>(by_outs.remainder(index, tap)) * taps + place) * columns;
  }
  __device__ int column(int index) const { return index < columns ? index : kOutside; }
  __device__ bool valid(int64_t row, int column) const { return row >= 0 && column >= 0; }
  __device__ int64_t offset(int64_t row, int column) const { return row + column; }
};

/// Converts a count of pixels, or of elements of an image, to the type that kernels index with.
/// Throws Error if it is too large.
inline int index_count(int64_t count) {
  if (count > -kNowhere)
    raise(std::to_string(count) + " pixels or elements are too many for one convolution");
  return static_cast<int>(count);
}

/// Returns the windows of x that output pixels read, for group 0.
template <class T>
PixelGather<T> input_windows(const void* x, const Conv2dShape& shape, int64_t batch) {
  PixelGather<T> a;
  a.data = static_cast<const T*>(x);
  a.grid = {shape.out.height, shape.out.width};
  a.rows = index_count(batch * shape.out.height * shape.out.width);
  index_count(shape.in.elements_per_image());
  a.scale = static_cast<int>(shape.stride);
  a.shift_y = a.shift_x = -static_cast<int>(shape.padding);
  a.tap_step = 1;
  a.by_channels = FastDivide(shape.in_channels_per_group());
  a.by_taps_x = FastDivide(shape.kernel_w);
  a.columns = static_cast<int>(shape.kernel_h * shape.kernel_w * shape.in_channels_per_group());
  a.height = static_cast<int>(shape.in.height);
  a.width = static_cast<int>(shape.in.width);
  a.channels = static_cast<int>(shape.in.channels);
  return a;
}

/// Returns true if groups of `channels` channels at p may be accessed in 16-byte words of T.
template <class T>
bool has_vectors(const void* p, int64_t channels) {
  return channels % kVector<T> == 0 && reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

}  // namespace sculpt::kernels::cuda
