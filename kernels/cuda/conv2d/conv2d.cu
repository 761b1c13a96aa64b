// The convolution tables of each precision.

#include "kernels/cuda/conv2d/passes.h"

namespace sculpt::kernels::cuda {

Conv2dKernels conv2d_kernels(Precision precision) {
  return with_math(precision, [](auto math) {
    using Math = decltype(math);
    return Conv2dKernels{.workspace_bytes = conv2d_workspace_bytes,
                         .forward = conv2d_forward<Math>,
                         .input_grad = conv2d_input_grad<Math>,
                         .weight_grad = conv2d_weight_grad<Math>,
                         .output_sums_bytes = conv2d_output_sums_bytes};
  });
}

}  // namespace sculpt::kernels::cuda
