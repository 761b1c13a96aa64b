

#define SCULPT_QUOTE(name) #name
#define SCULPT_BACKEND_NAME(isa) "cpu-" SCULPT_QUOTE(isa)

#include "kernels/cpu/backend_table.h"

#include "kernels/cpu/tables.h"
#include "kernels/host/gradients.h"
#include "kernels/host/pruning.h"
#include "kernels/host/ranking.h"

namespace SCULPT_ISA_NAMESPACE {

const Backend& backend_table() {
  static const Backend backend = {
      .name = SCULPT_BACKEND_NAME(SCULPT_ISA),
      .lanes = kLanes,
      .activation_bytes = sizeof(float),
      .parameter_bytes = sizeof(float),
      .conv2d = conv2d_kernels(),
      .sparse_conv2d = sparse_conv2d_kernels(),
      .winograd = winograd_kernels(),
      .linear = linear_kernels(),
      .batch_norm = batch_norm_kernels(),
      .elementwise = elementwise_kernels(),
      .pooling = pooling_kernels(),
      .loss = loss_kernels(),
      .input = input_kernels(),
      .masked_update = masked_update_kernels(),
      .gradients = host_gradient_kernels(),
      .pruning = host_pruning_kernels(),
      .ranking = host_ranking_kernels(),
      .fma_probe = fma_probe,
  };
  return backend;
}

}  // namespace SCULPT_ISA_NAMESPACE
