#pragma once
// Sizes of the processor's caches, for records and for rules that depend on them.

#include <cstdint>

namespace sculpt::kernels {

/// Bytes; 0 where the system does not say.
struct CpuCaches {
  int64_t l1_data = 0;  ///< of one core
  int64_t l2 = 0;       ///< of one core, or of the cores that share one
  int64_t l3 = 0;       ///< of the cores that share one
};

/// Always those of processor 0, so that the answer does not depend on where the process happens to
/// run. Read once for each process.
const CpuCaches& cpu_caches();

}  // namespace sculpt::kernels
