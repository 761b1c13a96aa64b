#pragma once
// The arithmetic of a GPU's convolutions and linear layers.

namespace sculpt::kernels::cuda {

/// The arithmetic with which convolutions and linear layers multiply.
enum class Precision {
  fp32,  ///< float activations, float multiply-adds
  tf32,  ///< float activations, tensor cores with inputs rounded to 10 bits
  bf16,  ///< bf16 activations and weights, tensor cores, float sums
};

}  // namespace sculpt::kernels::cuda
