#pragma once
// 2-D convolution (cross-correlation, as in PyTorch) with square stride and padding, and groups.
//
//   y[n,o,i,j] = bias[o] + sum_{c,r,s} w[o,c,r,s] * x[n, g(o)*C/G + c, i*stride - pad + r, j*stride
//   - pad + s]
//
// Layout: activations as in kernels/common/layout.h; weights OIHW, [out][in / groups][kh][kw]; all
// of the backend's element type. The input's halo must be >= padding; the output's gradient needs
// conv2d_output_halo(). Deterministic: the order of every sum is fixed by shapes and thread count.

#include <algorithm>
#include <cstddef>

#include "kernels/common/layout.h"
#include "kernels/conv_arguments.h"

namespace sculpt::kernels {

struct Conv2dShape {
  ActivationShape in;
  ActivationShape out;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;

  int64_t in_channels_per_group() const { return in.channels / groups; }
  int64_t out_channels_per_group() const { return out.channels / groups; }
  int64_t weight_count() const {
    return out.channels * in_channels_per_group() * kernel_h * kernel_w;
  }
  /// Multiply-accumulates of one image's forward pass.
  int64_t macs() const { return weight_count() * out.height * out.width; }
};

/// Output size along one axis; floor, as in PyTorch.
constexpr int64_t conv2d_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding) {
  return (in + 2 * padding - kernel) / stride + 1;
}

/// The halo that the gradient of the output needs, so that the input gradient may read it without
/// bounds checks.
inline int64_t conv2d_output_halo(const Conv2dShape& s) {
  auto axis = [&](int64_t in, int64_t out, int64_t kernel) {
    const int64_t before = std::max<int64_t>(0, kernel - 1 - s.padding) / s.stride;
    const int64_t after = (in - 1 + s.padding) / s.stride - (out - 1);
    return std::max<int64_t>({0, before, after});
  };
  return std::max(axis(s.in.height, s.out.height, s.kernel_h),
                  axis(s.in.width, s.out.width, s.kernel_w));
}

struct Conv2dKernels {
  /// Bytes of scratch that any of the three passes may need for up to `max_batch` images (64-byte
  /// aligned, contents undefined). Depends on thread_count() at the time of the call.
  size_t (*workspace_bytes)(const Conv2dShape&, int64_t max_batch);

  void (*forward)(const ConvForward& args, const Conv2dShape& shape);
  void (*input_grad)(const ConvInputGrad& args, const Conv2dShape& shape);
  void (*weight_grad)(const ConvWeightGrad& args, const Conv2dShape& shape);

  /// The number of bytes of ChannelSums::partials that forward() may fill for up to `max_batch`
  /// images; 0 if it leaves no sums for this shape. A null pointer means that the backend never
  /// leaves sums.
  size_t (*output_sums_bytes)(const Conv2dShape&, int64_t max_batch) = nullptr;
};

}  // namespace sculpt::kernels
