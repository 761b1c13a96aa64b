#pragma once
// These functions return the memory use of this process and of the machine, as Linux reports it.

#include <cstdint>

namespace sculpt {

/// Returns the peak resident memory of this process since it started or since
/// restart_peak_memory().
int64_t peak_memory_bytes();
/// Resets the peak to the current memory use; does nothing where the system refuses this.
void restart_peak_memory();

/// Returns the memory that the machine can still provide without swapping.
int64_t available_memory_bytes();

}  // namespace sculpt
