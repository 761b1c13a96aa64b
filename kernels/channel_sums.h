#pragma once
// Per-channel sums of an activation or of its gradient. The kernel that writes the activation or
// the gradient also writes these sums, so that batch norm need not read the array once more.

#include <cstdint>

namespace sculpt::kernels {

struct ChannelSums {
  /// [channels][chunks][2]: for each chunk of the batch's pixels, the sum of the stored elements
  /// and the sum of their squares. The array lies in the backend's memory and is 16-byte aligned.
  double* partials = nullptr;
  int64_t chunks = 0;  ///< set by the kernel that writes the sums; 0: the kernel left no sums
};

/// Sums of a gradient g of the output of a batch norm with ReLU, from which batch norm computes
/// dgamma and dbeta.
struct GradientSums {
  /// [channels][chunks][2]: for each chunk of the batch's pixels, the sum of the stored elements of
  /// g where the output is positive, and the sum of g * (x - mean) there. The array lies in the
  /// backend's memory and is 16-byte aligned.
  double* partials = nullptr;
  int64_t chunks = 0;          ///< set by the kernel that writes the sums; 0: it left no sums
  const void* x = nullptr;     ///< the input of the batch norm
  const void* mean = nullptr;  ///< [channels]: saved_mean of the batch norm
};

}  // namespace sculpt::kernels
