#pragma once
// The kernel families of the CUDA backend. Each family has its own .cu file, and backend.cpp puts
// them into kernels::Backend tables.

#include "kernels/device/backend.h"
#include "kernels/device/precision.h"

namespace sculpt::kernels::cuda {

Conv2dKernels conv2d_kernels(Precision precision);
/// Returns null pointers for precisions without such kernels.
ConvNormKernels conv_norm_kernels(Precision precision);
LinearKernels linear_kernels(Precision precision);

/// These kernels read and write activations of type T, which is float or bf16.
template <class T>
BatchNormKernels batch_norm_kernels();
template <class T>
ElementwiseKernels elementwise_kernels();
template <class T>
PoolingKernels pooling_kernels();
template <class T>
LossKernels loss_kernels();
template <class T>
InputKernels input_kernels();

/// These kernels also copy the weights to type T, for convolutions and linear layers.
template <class T>
MaskedUpdateKernels masked_update_kernels();

SoftThresholdKernels soft_threshold_kernels();
GradientKernels gradient_kernels();
PruningKernels pruning_kernels();
RankingKernels ranking_kernels();

}  // namespace sculpt::kernels::cuda
