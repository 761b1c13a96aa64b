#pragma once
// Per-channel sums of an activation. The kernel that writes the activation also writes these sums,
// so that batch norm need not read the activation once more for its statistics.

#include <cstdint>

namespace sculpt::kernels {

struct ChannelSums {
  /// [channels][chunks][2]: for each chunk of the batch's pixels, the sum of the stored elements
  /// and the sum of their squares. The array lies in the backend's memory and is 16-byte aligned.
  double* partials = nullptr;
  int64_t chunks = 0;  ///< set by the kernel that writes the sums; 0: the kernel left no sums
};

}  // namespace sculpt::kernels
