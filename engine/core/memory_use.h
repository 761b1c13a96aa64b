#pragma once
// Memory of this process and of the machine, as Linux counts it.

#include <cstdint>

namespace sculpt {

/// Peak resident memory of this process, since it began or since restart_peak_memory().
int64_t peak_memory_bytes();
/// Begins anew at the present use; does nothing where the system refuses that.
void restart_peak_memory();

/// What the machine can still give without swapping.
int64_t available_memory_bytes();

}  // namespace sculpt
