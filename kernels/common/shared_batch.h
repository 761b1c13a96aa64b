#pragma once
// A batch of images that several processes share: each process computes some of its images. Kernels
// whose result depends on all images of the batch add up sums over the processes.

#include <cstdint>

namespace sculpt::kernels {

struct SharedBatch {
  /// Replaces sums[0], ..., sums[count - 1] by their sums over all processes. `sums` lies in the
  /// backend's memory. The addition is a part of the work of `stream` (null on the host). All
  /// processes must make the same calls in the same order; a process without images calls, too.
  void (*add_up)(void* context, double* sums, int64_t count, void* stream) = nullptr;
  void* context = nullptr;
  int64_t images = 0;  ///< images of the whole batch
  /// True in one of the processes. Sums that all processes know already, and that are added up over
  /// the processes once more later, are left in this process and zeroed in all others.
  bool keeps_totals = true;
};

}  // namespace sculpt::kernels
