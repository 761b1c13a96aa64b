#pragma once
// Parts that our convolutions and those of a library share: the bias, the order of weight
// gradients, and the linear layer as a convolution. T is the element type of activations.

#include "kernels/conv2d.h"
#include "kernels/linear.h"

namespace sculpt::kernels::cuda {

/// Describes a fully connected layer as a convolution of 1 x 1 images.
inline Conv2dShape as_conv2d(const LinearShape& shape) {
  Conv2dShape result;
  result.in.channels = shape.in_features;
  result.out.channels = shape.out_features;
  return result;
}

/// y[pixel][channel] += bias[channel], over the whole batch.
template <class T>
void add_bias(void* y, const void* bias, const ActivationShape& shape, const Launch& launch);

/// args.dbias [out] (=, +=) sum over images and pixels of dy. Ignores x and dweight. Needs a
/// workspace of conv2d_workspace_bytes().
template <class T>
void conv2d_bias_grad(const ConvWeightGrad& args, const ActivationShape& dy_shape);

/// dweight OIHW (=, +=) the gradient, whose order is O, kh, kw, I / groups and whose elements are
/// T.
template <class T>
void write_weight_grad(void* dweight, const void* gradient, const Conv2dShape& shape,
                       GradWrite write, void* stream);

}  // namespace sculpt::kernels::cuda
