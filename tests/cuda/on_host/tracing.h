#pragma once
// Trace ranges on the host layer.

#include <string>
#include <vector>

namespace sculpt::test {

/// Returns the names of the ranges that this thread has begun and not ended, the outermost one
/// first.
const std::vector<std::string>& open_trace_ranges();

}  // namespace sculpt::test
