#pragma once
// The kernel families of the CPU backends. Each family has its own .cpp file or folder, which is
// compiled once per instruction set; backend_table.cpp puts the families into a kernels::Backend.

#include "kernels/cpu/vec.h"

namespace sculpt::kernels {

struct BatchNormKernels;
struct Conv2dKernels;
struct ElementwiseKernels;
struct InputKernels;
struct LinearKernels;
struct LossKernels;
struct MaskedUpdateKernels;
struct PoolingKernels;
struct SparseConv2dKernels;
struct WinogradKernels;

}  // namespace sculpt::kernels

namespace SCULPT_ISA_NAMESPACE {

BatchNormKernels batch_norm_kernels();
Conv2dKernels conv2d_kernels();
ElementwiseKernels elementwise_kernels();
InputKernels input_kernels();
LinearKernels linear_kernels();
LossKernels loss_kernels();
MaskedUpdateKernels masked_update_kernels();
PoolingKernels pooling_kernels();
SparseConv2dKernels sparse_conv2d_kernels();
WinogradKernels winograd_kernels();

/// Backend::fma_probe.
double fma_probe(int64_t iterations);

}  // namespace SCULPT_ISA_NAMESPACE
