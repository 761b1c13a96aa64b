#pragma once
// The memory layout of activations. A backend has one layout for every activation of a network and
// every activation gradient.
//
// Layout::blocked (CPU and reference):
//
//     [ceil(batch / lanes)][channels][height + halo][width + halo][lanes]
//
// `lanes` images are innermost: one cell (a pixel of a channel, for `lanes` images) is one vector,
// so a kernel broadcasts a weight and runs along images. The CPU backend has 16 lanes of float (64
// bytes), the reference backend one lane of double, which makes it plain NCHW with a border.
//
// The halo is the zero padding that convolutions read. Rows share it: the `halo` zero columns at
// the right of a row are also the left padding of the next row, and the `halo` zero rows below a
// plane are also the top padding of the next plane. A guard of zeros precedes the first plane.
//
// Rules:  * a data pointer points at cell (block 0, channel 0, y 0, x 0), i.e. behind the guard;  *
// halo and guard are zero when a buffer is handed out, and kernels write interiors only;  * a batch
// that is not a multiple of `lanes` leaves padded lanes in the last block. In values
//    they hold anything finite; in gradients they are exactly zero, so that no reduction sees them.
//
// Layout::nhwc (CUDA): [batch][height][width][channels] without gaps: no halo (convolutions check
// bounds), no padded lanes.

#include <cstdint>

namespace sculpt::kernels {

enum class Layout { blocked, nhwc };

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// One activation: sizes per image, and its halo.
struct ActivationShape {
  int64_t channels = 0;
  int64_t height = 1;
  int64_t width = 1;
  int64_t halo = 0;

  /// Distances in cells.
  int64_t row_stride() const { return width + halo; }
  int64_t plane_stride() const { return (height + halo) * (width + halo); }
  int64_t block_stride() const { return channels * plane_stride(); }
  /// Zero cells that must precede cell 0, so that row -halo, column -halo of plane 0 is readable.
  int64_t guard_cells() const { return halo * row_stride() + halo; }
  /// Cells of the whole buffer, guard included, for `blocks` blocks of lanes.
  int64_t buffer_cells(int64_t blocks) const { return guard_cells() + blocks * block_stride(); }
  int64_t elements_per_image() const { return channels * height * width; }

  bool operator==(const ActivationShape&) const = default;
};

/// Rows [begin, end) of every plane of an activation.
struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
  bool operator==(const RowRange&) const = default;
};

constexpr RowRange all_rows(const ActivationShape& shape) {
  return {0, shape.height};
}

/// The number of rows in a band. Kernels that run on part of a plane cut it into bands of this many
/// rows; the last band may be shorter. A band has at least 64 pixels and consists of whole tiles of
/// every kernel.
constexpr int64_t band_rows(const ActivationShape& shape) {
  constexpr int64_t multiple = 4;
  return ceil_div(ceil_div(64, shape.width), multiple) * multiple;
}
constexpr int64_t bands_of(const ActivationShape& shape) {
  return ceil_div(shape.height, band_rows(shape));
}

/// Launch parameters that all kernels of one replay share.
struct Launch {
  int64_t batch = 0;       ///< images in this batch; at most the capacity of the buffers
  void* stream = nullptr;  ///< device stream; unused on the CPU
};

/// States whether a backward kernel replaces its output or adds to it. The first writer of an
/// activation gradient overwrites it and all later writers add to it. The graph decides which
/// writer is the first when it is planned.
enum class GradWrite { overwrite, accumulate };

}  // namespace sculpt::kernels
