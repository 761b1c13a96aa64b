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
/// most Backend::lanes. No part needs a workspace, and none adds a bias. `rows` are rows of y in
/// forward, of dx in input_grad, and of dy in weight_grad. They begin and end at bands
/// (band_rows()). input_grad processes whole tiles if the bounds of `rows` are multiples of the
/// band times the stride.
struct SparseConv2dBlockKernels {
  /// Bytes of the gathered values of the kept weights, which forward and input_grad take as their
  /// weight; 64-byte aligned.
  size_t (*values_bytes)(const SparsePattern&);
  void (*gather)(void* values, const void* weight, const SparsePattern&);
  void (*forward)(const ConvForward& args, const SparsePattern&, const RowRange& rows);
  void (*input_grad)(const ConvInputGrad& args, const SparsePattern&, const RowRange& rows);
  /// Bytes of one partial gradient of the weight; 64-byte aligned.
  /// SparseConv2dKernels::workspace_bytes() is large enough for one partial gradient per thread.
  size_t (*partial_bytes)(const SparsePattern&);
  /// Adds the gradient from the pixels of `rows` to args.dweight, which is a partial gradient that
  /// the caller has zeroed. Ignores args.write.
  void (*weight_grad)(const ConvWeightGrad& args, const SparsePattern&, const RowRange& rows);
  /// dweight (=, +=) the sum of `count` partial gradients, which lie one behind the other.
  void (*sum_partials)(void* dweight, const void* partials, int64_t count, const SparsePattern&,
                       GradWrite write);
};

struct SparseConv2dKernels {
  /// Bytes of scratch for any of the three passes, 64-byte aligned. Depends on thread_count() at
  /// the time of the call.
  size_t (*workspace_bytes)(const SparsePattern&);

  // The gradient of the weight is written only where the mask keeps the weight. After keep_only(),
  // weight and dweight are arrays [kept].
  void (*forward)(const ConvForward& args, const SparsePattern&);
  void (*input_grad)(const ConvInputGrad& args, const SparsePattern&);
  void (*weight_grad)(const ConvWeightGrad& args, const SparsePattern&);

  SparseConv2dBlockKernels on_blocks = {};  ///< null pointers if the backend has none
};

}  // namespace sculpt::kernels
