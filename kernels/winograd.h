#pragma once
// 3x3 convolutions of stride 1 by Winograd's algorithm F(4x4, 3x3): the sums of kernels/conv2d.h
// with a quarter of the multiplications. A tile of 6x6 cells of the input becomes 36 numbers (its
// values at "points"), so do the weights; per point a small matrix product sums over channels;
// and 36 sums become 4x4 cells of the output. Arrays and layouts are those of kernels/conv2d.h.
//
// Rounding errors are about twice those of direct sums in float, and in the gradient of the weight,
// whose direct sums are taken apart by lane, ten times. For standard normal data and up to 512
// channels (or, in the gradient of the weight, 2^16 pixels of a batch), against sums in double:
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

/// Whether the shape is one that these kernels can compute: 3x3, stride 1, padding of at most 2,
/// one group.
inline bool winograd_fits(const Conv2dShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride == 1 && s.padding <= 2 && s.groups == 1;
}

struct WinogradKernels {
  /// Whether forward() and input_grad(), or weight_grad(), are faster than direct kernels for this
  /// shape, as measured when the kernels were written. False where the shape does not fit. What
  /// does not pay for a batch does not for smaller ones.
  bool (*pays)(const Conv2dShape&, int64_t batch) = nullptr;
  bool (*weight_grad_pays)(const Conv2dShape&, int64_t batch) = nullptr;

  /// Bytes of scratch for any of the three passes over up to `max_batch` images, 64-byte aligned:
  /// mainly the transformed weights, 4 times the weight's bytes. Depends on thread_count() at the
  /// time of the call.
  size_t (*workspace_bytes)(const Conv2dShape&, int64_t max_batch) = nullptr;

  // As in Conv2dKernels.
  void (*forward)(void* y, const void* x, const void* weight, const void* bias,
                  const Conv2dShape& shape, void* workspace, const Launch& launch) = nullptr;
  void (*input_grad)(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                     GradWrite write, void* workspace, const Launch& launch) = nullptr;
  void (*weight_grad)(void* dweight, void* dbias, const void* dy, const void* x,
                      const Conv2dShape& shape, GradWrite write, void* workspace,
                      const Launch& launch) = nullptr;
};

}  // namespace sculpt::kernels
