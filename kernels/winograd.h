#pragma once
// 3x3 convolutions of stride 1 by Winograd's algorithm F(4x4, 3x3): the sums of kernels/conv2d.h
// with a quarter of the multiplications. A tile of 6x6 cells of the input becomes 36 numbers (its
// values at 36 "points"), and so do the weights of a kernel. For each point, a small matrix product
// sums over channels. The 36 sums then become 4x4 cells of the output. Arrays and layouts are those
// of kernels/conv2d.h.
//
// Rounding errors are about twice those of direct sums in float. In the gradient of the weight they
// are about ten times those of the direct kernels, which keep a separate sum for each lane. For
// standard normal data and up to 512 channels (or, in the gradient of the weight, 2^16 pixels of a
// batch), against sums in double:
//
//   |error| < kWinogradError * |result|  (L2)
//   each error < kWinogradMaxError * root mean square of the result
//
// Deterministic: the order of every sum is fixed by the shapes.

#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"

namespace sculpt::kernels {

inline constexpr double kWinogradError = 5e-6;
inline constexpr double kWinogradMaxError = 5e-5;

/// Returns true if these kernels can compute the shape: 3x3, stride 1, padding of at most 2, one
/// group.
inline bool winograd_fits(const Conv2dShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride == 1 && s.padding <= 2 && s.groups == 1;
}

/// The passes below, split into parts that process some rows of a block of images (see
/// SparseConv2dBlockKernels). Each call runs on the calling thread alone, except `transform` and
/// `sum_partials`. No part adds a bias. `rows` begin and end at bands (band_rows()), which consist
/// of whole tiles.
struct WinogradBlockKernels {
  /// Returns true if the sums and transformed weights of the shape are small enough to be read
  /// again for every few tiles.
  bool (*fits)(const Conv2dShape&);
  /// Bytes of the transformed weights of the forward pass or the input gradient, which take them as
  /// their weight; 64-byte aligned.
  size_t (*points_bytes)(const Conv2dShape&, ConvPass);
  void (*transform)(void* points, const void* weight, const Conv2dShape&, ConvPass);
  /// Bytes of scratch of one thread for any of the passes, given as args.workspace; 64-byte
  /// aligned.
  size_t (*scratch_bytes)(const Conv2dShape&);
  void (*forward)(const ConvForward& args, const Conv2dShape&, const RowRange& rows);
  void (*input_grad)(const ConvInputGrad& args, const Conv2dShape&, const RowRange& rows);
  /// Bytes of the sums of one partial gradient of the weight; 64-byte aligned.
  size_t (*partial_bytes)(const Conv2dShape&);
  /// Adds the sums over the pixels of `rows` to args.dweight, which is a partial gradient that the
  /// caller has zeroed. Ignores args.write.
  void (*weight_grad)(const ConvWeightGrad& args, const Conv2dShape&, const RowRange& rows);
  /// dweight (=, +=) the gradient from `count` partial gradients, which lie one behind the other
  /// and are overwritten.
  void (*sum_partials)(void* dweight, void* partials, int64_t count, const Conv2dShape&,
                       GradWrite write);
};

struct WinogradKernels {
  /// Returns true if these kernels are faster than the direct kernels for this shape, as measured
  /// when the kernels were written. Returns false if the shape does not fit. If the kernels do not
  /// pay for some batch, they do not pay for smaller batches either.
  bool (*pays)(const Conv2dShape&, int64_t batch) = nullptr;

  /// Bytes of scratch for any of the three passes over up to `max_batch` images, 64-byte aligned:
  /// mainly the transformed weights, 4 times the weight's bytes. Depends on thread_count() at the
  /// time of the call.
  size_t (*workspace_bytes)(const Conv2dShape&, int64_t max_batch) = nullptr;

  void (*forward)(const ConvForward& args, const Conv2dShape& shape) = nullptr;
  void (*input_grad)(const ConvInputGrad& args, const Conv2dShape& shape) = nullptr;
  void (*weight_grad)(const ConvWeightGrad& args, const Conv2dShape& shape) = nullptr;

  WinogradBlockKernels on_blocks = {};  ///< null pointers if the backend has none
};

}  // namespace sculpt::kernels
