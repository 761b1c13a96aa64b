#include "kernels/host/pruning.h"
#include "kernels/host/ranking.h"
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
      .masked_sgd = reference::masked_sgd_kernels(),
      .pruning = host_pruning_kernels<double>(),
      .ranking = host_ranking_kernels(),
  };
  return backend;
}

}  // namespace sculpt::kernels
