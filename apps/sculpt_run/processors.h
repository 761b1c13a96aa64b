#pragma once
// How many processors this process may use.

#include <string>

namespace sculpt {

/// The processors in the process's affinity mask, and not more than the time that its control group
/// grants (containers, batch systems), rounded up. At least 1.
int available_processors();

/// A warning for a run that starts `threads` threads; empty if there are enough processors.
std::string too_many_threads(int threads, int processors);

}  // namespace sculpt
