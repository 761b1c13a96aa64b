// A fully connected layer is a convolution of 1 x 1 images. It uses the same GEMMs and the same
// weight order.

#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/conv2d/passes.h"

namespace sculpt::kernels::cuda {
namespace {

size_t workspace_bytes(const LinearShape& shape, int64_t max_batch) {
  return conv2d_workspace_bytes(as_conv2d(shape), max_batch);
}

template <class Math>
void forward(const ConvForward& args, const LinearShape& shape) {
  conv2d_forward<Math>(args, as_conv2d(shape));
}

template <class Math>
void input_grad(const ConvInputGrad& args, const LinearShape& shape) {
  conv2d_input_grad<Math>(args, as_conv2d(shape));
}

template <class Math>
void weight_grad(const ConvWeightGrad& args, const LinearShape& shape) {
  conv2d_weight_grad<Math>(args, as_conv2d(shape));
}

}  // namespace

LinearKernels linear_kernels(Precision precision) {
  return with_math(precision, [](auto math) {
    using Math = decltype(math);
    return LinearKernels{.workspace_bytes = workspace_bytes,
                         .forward = forward<Math>,
                         .input_grad = input_grad<Math>,
                         .weight_grad = weight_grad<Math>};
  });
}

}  // namespace sculpt::kernels::cuda
