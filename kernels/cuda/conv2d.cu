// The convolutions of each precision.

#include "kernels/cuda/conv2d_passes.h"
#include "kernels/cuda/implicit_gemm_math.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

template <class Math>
Conv2dKernels kernels() {
  return {.workspace_bytes = conv2d_workspace_bytes,
          .forward = conv2d_forward<Math>,
          .input_grad = conv2d_input_grad<Math>,
          .weight_grad = conv2d_weight_grad<Math>};
}

}  // namespace

Conv2dKernels conv2d_kernels(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return kernels<Fp32>();
    case Precision::tf32:
      return kernels<Tf32>();
    case Precision::bf16:
      return kernels<Bf16>();
  }
  raise("unknown precision " + std::to_string(static_cast<int>(precision)));
}

}  // namespace sculpt::kernels::cuda
