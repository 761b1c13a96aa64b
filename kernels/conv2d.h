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

#include "kernels/channel_sums.h"
#include "kernels/common/layout.h"

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

/// The three passes of a convolution. They compute y, the gradient of x, and the gradient of w.
enum class ConvPass { forward, input_grad, weight_grad };
inline constexpr ConvPass kConvPasses[] = {ConvPass::forward, ConvPass::input_grad,
                                           ConvPass::weight_grad};

struct Conv2dKernels {
  /// Bytes of scratch that any of the three passes may need for up to `max_batch` images (64-byte
  /// aligned, contents undefined). Depends on thread_count() at the time of the call.
  size_t (*workspace_bytes)(const Conv2dShape&, int64_t max_batch);

  /// y := conv(x, w) + bias. bias [out] may be null. `sums` receives the sums of y's channels; it
  /// may be null, and must be null if output_sums_bytes() is null or returns 0.
  void (*forward)(void* y, ChannelSums* sums, const void* x, const void* weight, const void* bias,
                  const Conv2dShape& shape, void* workspace, const Launch& launch);

  /// dx (=, +=) sum over outputs that x reached, of w * dy.
  void (*input_grad)(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                     GradWrite write, void* workspace, const Launch& launch);

  /// dw (=, +=) sum over images and pixels of dy * x. dbias [out] (=, +=) sum over images and
  /// pixels of dy; it may be null.
  void (*weight_grad)(void* dweight, void* dbias, const void* dy, const void* x,
                      const Conv2dShape& shape, GradWrite write, void* workspace,
                      const Launch& launch);

  /// The number of bytes of ChannelSums::partials that forward() may fill for up to `max_batch`
  /// images; 0 if it leaves no sums for this shape. A null pointer means that the backend never
  /// leaves sums.
  size_t (*output_sums_bytes)(const Conv2dShape&, int64_t max_batch) = nullptr;
};

}  // namespace sculpt::kernels
