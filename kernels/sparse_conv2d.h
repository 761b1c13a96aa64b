#pragma once
// Convolution with a weight that is mostly zero: the same sums as kernels/conv2d.h, with work and
// memory traffic in proportion to the weights that the mask keeps. Any kernel size, stride, padding
// and groups.
//
// A pattern says where the kept weights are. It is made once when a mask changes; the passes then
// read their values from, and write their gradients to, arrays of the whole parameter, or of its
// kept weights only. Masked weights are taken as zero and their gradients are left alone.
//
// Work: 2 * kept * out pixels * batch FLOPs a pass.

#include <cstddef>
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

class SparseConv2d {
 public:
  /// mask: 0/1 per weight, OIHW. Throws Error if offsets do not fit 32 bits.
  SparseConv2d(const Conv2dShape& shape, std::span<const uint8_t> mask);

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

/// The passes below in parts, for rows of a block of images that go through several ops while they
/// are in cache. Each runs on the calling thread alone. Activations point at the block, and
/// launch.batch counts its images, at most Backend::lanes. `rows` are those of y, of dx, and of dy;
/// they begin and end at bands (band_rows()); input_grad has whole tiles if these are multiples of
/// bands times stride.
struct SparseConv2dBlockKernels {
  /// Of the values that forward and input_grad read; 64-byte aligned.
  size_t (*values_bytes)(const SparseConv2d&);
  void (*gather)(void* values, const void* weight, const SparseConv2d& conv);
  void (*forward)(void* y, const void* x, const void* values, const SparseConv2d& conv,
                  const RowRange& rows, const Launch& launch);
  void (*input_grad)(void* dx, const void* dy, const void* values, const SparseConv2d& conv,
                     GradWrite write, const RowRange& rows, const Launch& launch);
  /// Of one partial gradient of the weight; 64-byte aligned. SparseConv2dKernels::workspace_bytes()
  /// are enough for one of each thread.
  size_t (*partial_bytes)(const SparseConv2d&);
  /// Adds the gradient of these pixels to `partial`, which the caller has zeroed.
  void (*weight_grad)(void* partial, const void* dy, const void* x, const SparseConv2d& conv,
                      const RowRange& rows, const Launch& launch);
  /// dweight := the sum of `count` partial gradients, which lie one behind the other.
  void (*sum_partials)(void* dweight, const void* partials, int64_t count, const SparseConv2d& conv,
                       GradWrite write);
};

struct SparseConv2dKernels {
  /// Bytes of scratch for any of the three passes, 64-byte aligned. Depends on thread_count() at
  /// the time of the call.
  size_t (*workspace_bytes)(const SparseConv2d&);

  // As in Conv2dKernels. The gradient of the weight is written where the mask keeps it. weight and
  // dweight: [kept] after keep_only().
  void (*forward)(void* y, const void* x, const void* weight, const void* bias,
                  const SparseConv2d& conv, void* workspace, const Launch& launch);
  void (*input_grad)(void* dx, const void* dy, const void* weight, const SparseConv2d& conv,
                     GradWrite write, void* workspace, const Launch& launch);
  void (*weight_grad)(void* dweight, void* dbias, const void* dy, const void* x,
                      const SparseConv2d& conv, GradWrite write, void* workspace,
                      const Launch& launch);

  SparseConv2dBlockKernels on_blocks = {};  ///< null where there are none
};

}  // namespace sculpt::kernels
