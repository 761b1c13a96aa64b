#pragma once
// The three passes of a convolution, for Math = Bf16, Tf32 or Fp32 (gemm/math.h). The linear layer
// is a convolution of 1 x 1 images.

#include "kernels/conv2d.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/gemm/math.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {

/// Calls body(Math{}) with the multiplication of a precision.
template <class Body>
auto with_math(Precision precision, const Body& body) {
  switch (precision) {
    case Precision::fp32:
      return body(Fp32{});
    case Precision::tf32:
      return body(Tf32{});
    case Precision::bf16:
      return body(Bf16{});
  }
  raise("unknown precision " + std::to_string(static_cast<int>(precision)));
}

template <class Math>
void conv2d_forward(void* y, ChannelSums* sums, const void* x, const void* weight, const void* bias,
                    const Conv2dShape& shape, void* workspace, const Launch& launch);

size_t conv2d_output_sums_bytes(const Conv2dShape& shape, int64_t max_batch);

template <class Math>
void conv2d_input_grad(void* dx, const void* dy, const void* weight, const Conv2dShape& shape,
                       GradWrite write, void* workspace, const Launch& launch);

template <class Math>
void conv2d_weight_grad(void* dweight, void* dbias, const void* dy, const void* x,
                        const Conv2dShape& shape, GradWrite write, void* workspace,
                        const Launch& launch);

/// Returns the bytes of scratch for the weight gradient. The other passes need none.
size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t max_batch);

}  // namespace sculpt::kernels::cuda
