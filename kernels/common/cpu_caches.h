#pragma once
// Sizes of the processor's caches, for records and for rules that depend on them.

#include <cstdint>

namespace sculpt::kernels {

/// Sizes in bytes; 0 where the system does not report them.
struct CpuCaches {
  int64_t l1_data = 0;  ///< of one core
  int64_t l2 = 0;       ///< of one core, or of the cores that share one
  int64_t l3 = 0;       ///< of the cores that share one
};

/// Returns the caches of processor 0, so that the result does not depend on the processor that the
/// calling thread happens to run on. The sizes are read once per process.
const CpuCaches& cpu_caches();

}  // namespace sculpt::kernels
