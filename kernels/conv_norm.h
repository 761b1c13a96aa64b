#pragma once
// A convolution together with the batch norms before and behind it.
//
// Backward, batch norm alone writes the gradient of its input, and the convolution before it reads
// this gradient twice: for the gradient of its own input, and for the gradient of its weight. Here,
// batch norm only computes its sums (dgamma and dbeta). The convolution computes the gradient of
// its output from these sums and from what batch norm would have read, while it loads. The gradient
// is never written to memory. In the same pass, the kernel may leave the sums that the next batch
// norm of the backward pass needs, which is the one that computed the convolution's input.
//
// Forward, batch norm alone writes its output, and the convolution behind it reads the output in
// both directions. Here, batch norm only computes its statistics. The convolution normalises the
// input of batch norm while it loads, forward and backward.

#include <cstddef>

#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"

namespace sculpt::kernels {

/// The gradient of batch norm's input, which batch norm has not written.
struct DeferredGradient {
  /// The arguments of BatchNormKernels::backward_train or backward_eval, which has computed dgamma
  /// and dbeta from them with dx and dresidual null. dx is still null; dresidual is set now if it
  /// is wanted. With constant statistics, dgamma and dbeta may be null. The arrays keep their
  /// contents until the convolution has run.
  BatchNormBackward norm;
  /// True if the arguments are those of backward_eval. dx then does not depend on the sums.
  bool constant_statistics = false;
};

/// The output of batch norm without a residual, which batch norm has not written.
struct DeferredActivation {
  /// The arguments of BatchNormKernels::forward_train or forward_eval, which has computed the
  /// statistics. y is null.
  BatchNormForward norm;
  /// True if the arguments are those of forward_eval.
  bool running_statistics = false;
};

/// y := w * x for a deferred x. The arrays are those of ConvForward.
struct ConvNormForward {
  void* y = nullptr;
  const DeferredActivation* x = nullptr;
  const void* weight = nullptr;  ///< as the convolution's kernels read it, 4-byte aligned
  ChannelSums* sums = nullptr;   ///< as in ConvForward
  Launch launch = {};
};

/// dx (=, +=) and dweight = the gradients of a convolution without bias. The arrays are those of
/// ConvInputGrad and ConvWeightGrad. Also dresidual of the
/// batch norm (=, +=), if DeferredGradient::norm has one.
struct ConvNormBackward {
  void* dx = nullptr;  ///< null: the input needs no gradient
  GradWrite write = GradWrite::overwrite;
  void* dweight = nullptr;  ///< overwritten
  const void* x = nullptr;
  const DeferredActivation* deferred_x = nullptr;  ///< if it is not null, it takes the place of x
  const void* weight = nullptr;
  const DeferredGradient* dy = nullptr;  ///< the gradient of the convolution's output
  /// Receives sums of dx. x is then the output of the batch norm whose sums they are. Null: no sums
  /// are wanted.
  GradientSums* sums = nullptr;
  void* workspace = nullptr;  ///< Conv2dKernels::workspace_bytes(), 64-byte aligned
  Launch launch = {};
};

struct ConvNormKernels {
  /// Returns true if the functions below take convolutions of this shape.
  bool (*fits)(const Conv2dShape& shape) = nullptr;
  void (*forward)(const ConvNormForward& args, const Conv2dShape& shape) = nullptr;
  void (*backward)(const ConvNormBackward& args, const Conv2dShape& shape) = nullptr;
  /// Returns the bytes of GradientSums::partials that backward() may fill for up to `max_batch`
  /// images.
  size_t (*sums_bytes)(const Conv2dShape& shape, int64_t max_batch) = nullptr;
};

}  // namespace sculpt::kernels
