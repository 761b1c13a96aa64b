#include "kernels/reference/reference.h"

namespace sculpt::kernels {

const Backend& reference_backend() {
  static const Backend backend = {
      .name = "reference",
      .lanes = 1,
      .activation_bytes = sizeof(double),
      .parameter_bytes = sizeof(double),
      .conv2d = reference::conv2d_kernels(),
      .linear = reference::linear_kernels(),
      .batch_norm = reference::batch_norm_kernels(),
      .elementwise = reference::elementwise_kernels(),
      .pooling = reference::pooling_kernels(),
      .loss = reference::loss_kernels(),
      .input = reference::input_kernels(),
      .masked_update = reference::masked_update_kernels(),
      .gradients = reference::gradient_kernels(),
      .pruning = reference::pruning_kernels(),
      .ranking = reference::ranking_kernels(),
  };
  return backend;
}

}  // namespace sculpt::kernels
