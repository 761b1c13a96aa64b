#pragma once
// Max, average and global average pooling, as in PyTorch (ceil_mode off). Input and output may have
// different halos, whose values never enter a result: max pooling pads with -inf, and average
// pooling counts padding in its divisor (count_include_pad, PyTorch's default).

#include "kernels/common/layout.h"

namespace sculpt::kernels {

struct Pool2dShape {
  ActivationShape in;
  ActivationShape out;  ///< sizes by conv2d_output_size
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t padding = 0;  ///< at most kernel / 2
};

struct PoolingKernels {
  void (*max_forward)(void* y, const void* x, const Pool2dShape&, const Launch&);
  /// dx (=, +=): each dy is added at the first maximum of its window in row-major order.
  void (*max_backward)(void* dx, const void* dy, const void* x, const Pool2dShape&, GradWrite,
                       const Launch&);
  void (*average_forward)(void* y, const void* x, const Pool2dShape&, const Launch&);
  void (*average_backward)(void* dx, const void* dy, const Pool2dShape&, GradWrite, const Launch&);
  /// y [C][1][1] (halo 0) := mean over H, W of x.
  void (*global_average_forward)(void* y, const void* x, const ActivationShape& in, const Launch&);
  void (*global_average_backward)(void* dx, const void* dy, const ActivationShape& in, GradWrite,
                                  const Launch&);
  /// y := x at the position of the first maximum of `by` in each window. So x is max-pooled with
  /// the winners of `by`, which has the shape of x. The gradient is max_backward() with `by` as its
  /// argument x.
  void (*max_select)(void* y, const void* x, const void* by, const Pool2dShape&, const Launch&);
};

}  // namespace sculpt::kernels
