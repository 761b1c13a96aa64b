#pragma once
// The arguments of the three passes of a layer with a weight. Convolutions (kernels/conv2d.h),
// Winograd's algorithm (kernels/winograd.h), convolutions that skip masked weights
// (kernels/sparse_conv2d.h) and the fully connected layer (kernels/linear.h) share them. What
// describes the layer (Conv2dShape, SparsePattern or LinearShape) is a separate argument of the
// kernels; the header of each family says how its weight is laid out.
//
// x and dx have the shape of the layer's input, y and dy the shape of its output, as activations
// (kernels/common/layout.h).

#include "kernels/channel_sums.h"
#include "kernels/common/layout.h"

namespace sculpt::kernels {

/// The three passes of a convolution. They compute y, the gradient of x, and the gradient of w.
enum class ConvPass { forward, input_grad, weight_grad };
inline constexpr ConvPass kConvPasses[] = {ConvPass::forward, ConvPass::input_grad,
                                           ConvPass::weight_grad};

/// Returns "forward", "input_grad" or "weight_grad".
inline const char* name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward:
      return "forward";
    case ConvPass::input_grad:
      return "input_grad";
    case ConvPass::weight_grad:
      break;
  }
  return "weight_grad";
}

/// y := w * x + bias.
struct ConvForward {
  void* y = nullptr;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;  ///< [out channels]; null: no bias is added
  /// Receives the sums of y's channels. Only Conv2dKernels::forward writes sums, and only where
  /// Conv2dKernels::output_sums_bytes() is not 0; everywhere else the member must be null.
  ChannelSums* sums = nullptr;
  void* workspace = nullptr;  ///< workspace_bytes() of the family, 64-byte aligned
  Launch launch = {};
};

/// dx (=, +=) the sum of w * dy over all outputs that x reached.
struct ConvInputGrad {
  void* dx = nullptr;
  GradWrite write = GradWrite::overwrite;
  const void* dy = nullptr;
  const void* weight = nullptr;
  void* workspace = nullptr;  ///< workspace_bytes() of the family, 64-byte aligned
  Launch launch = {};
};

/// dweight (=, +=) the sum of dy * x over images and pixels; dbias (=, +=) the sum of dy.
struct ConvWeightGrad {
  void* dweight = nullptr;
  void* dbias = nullptr;  ///< [out channels]; null: there is no bias
  GradWrite write = GradWrite::overwrite;
  const void* dy = nullptr;
  const void* x = nullptr;
  void* workspace = nullptr;  ///< workspace_bytes() of the family, 64-byte aligned
  Launch launch = {};
};

}  // namespace sculpt::kernels
