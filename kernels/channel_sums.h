#pragma once
// Sums over the channels of an activation that the kernel which writes it leaves beside it, so that
// batch norm need not read the activation once more for its statistics.

#include <cstdint>

namespace sculpt::kernels {

struct ChannelSums {
  /// [channels][chunks][2]: over each chunk of the batch's pixels, the sum of the elements as they
  /// were stored and the sum of their squares. In the backend's memory, 16-byte aligned.
  double* partials = nullptr;
  int64_t chunks = 0;  ///< set by the kernel that writes the sums; 0: it left none
};

}  // namespace sculpt::kernels
