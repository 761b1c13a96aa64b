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
void conv2d_forward(const ConvForward& args, const Conv2dShape& shape);

size_t conv2d_output_sums_bytes(const Conv2dShape& shape, int64_t max_batch);

template <class Math>
void conv2d_input_grad(const ConvInputGrad& args, const Conv2dShape& shape);

template <class Math>
void conv2d_weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape);

/// dweight OIHW (=, +=) the sums over the splits of partials[split][o][r][s][c].
void add_weight_partials(void* dweight, const float* partials, const Conv2dShape& shape,
                         int64_t splits, GradWrite write, void* stream);

/// Returns the bytes of scratch for the weight gradient. The other passes need none.
size_t conv2d_workspace_bytes(const Conv2dShape& shape, int64_t max_batch);

}  // namespace sculpt::kernels::cuda
