#pragma once
// Finds out how many processors this process may use.

#include <string>

namespace sculpt {

/// Returns the number of processors in the process's affinity mask, or less if the process's
/// control group (containers, batch systems) grants less time; a fraction is rounded up. The result
/// is at least 1.
int available_processors();

/// Returns a warning for a run that starts `threads` threads, or "" if there are enough processors.
std::string too_many_threads(int threads, int processors);

}  // namespace sculpt
