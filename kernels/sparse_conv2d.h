#pragma once
// Convolution with a weight that is mostly zero: the same sums as kernels/conv2d.h, with work and
// memory traffic in proportion to the weights that the mask keeps. Any kernel size, stride, padding
// and groups.
//
// The passes read the values of kept weights from, and write their gradients to, arrays that hold
// either the whole parameter or only its kept weights (sparse_pattern.h). Masked weights count as
// zero, and their gradients are not written.
//
// Work per pass: 2 * kept * out pixels * batch FLOPs.

#include <cstddef>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/sparse_pattern.h"

namespace sculpt::kernels {

/// The passes below, split into parts that process some rows of a block of images, so that these
/// rows can go through several ops while they are in cache. Each call runs on the calling thread
/// alone. Activation pointers point at the block, and launch.batch is the number of its images, at
/// most Backend::lanes. `rows` are rows of y in forward, of dx in input_grad, and of dy in
/// weight_grad. They begin and end at bands (band_rows()). input_grad processes whole tiles if the
/// bounds of `rows` are multiples of the band times the stride.
struct SparseConv2dBlockKernels {
  /// Bytes of the values that forward and input_grad read; 64-byte aligned.
  size_t (*values_bytes)(const SparsePattern&);
  void (*gather)(void* values, const void* weight, const SparsePattern& conv);
  void (*forward)(void* y, const void* x, const void* values, const SparsePattern& conv,
                  const RowRange& rows, const Launch& launch);
  void (*input_grad)(void* dx, const void* dy, const void* values, const SparsePattern& conv,
                     GradWrite write, const RowRange& rows, const Launch& launch);
  /// Bytes of one partial gradient of the weight; 64-byte aligned.
  /// SparseConv2dKernels::workspace_bytes() is large enough for one partial gradient per thread.
  size_t (*partial_bytes)(const SparsePattern&);
  /// Adds the gradient from the pixels of `rows` to `partial`, which the caller has zeroed.
  void (*weight_grad)(void* partial, const void* dy, const void* x, const SparsePattern& conv,
                      const RowRange& rows, const Launch& launch);
  /// dweight (=, +=) the sum of `count` partial gradients, which lie one behind the other.
  void (*sum_partials)(void* dweight, const void* partials, int64_t count,
                       const SparsePattern& conv, GradWrite write);
};

struct SparseConv2dKernels {
  /// Bytes of scratch for any of the three passes, 64-byte aligned. Depends on thread_count() at
  /// the time of the call.
  size_t (*workspace_bytes)(const SparsePattern&);

  // The arguments are those of Conv2dKernels. The gradient of the weight is written only where the
  // mask keeps the weight. After keep_only(), weight and dweight are arrays [kept].
  void (*forward)(void* y, const void* x, const void* weight, const void* bias,
                  const SparsePattern& conv, void* workspace, const Launch& launch);
  void (*input_grad)(void* dx, const void* dy, const void* weight, const SparsePattern& conv,
                     GradWrite write, void* workspace, const Launch& launch);
  void (*weight_grad)(void* dweight, void* dbias, const void* dy, const void* x,
                      const SparsePattern& conv, GradWrite write, void* workspace,
                      const Launch& launch);

  SparseConv2dBlockKernels on_blocks = {};  ///< null pointers if the backend has none
};

}  // namespace sculpt::kernels
