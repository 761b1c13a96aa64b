#pragma once
// Runs a function in a process of its own.

#include <functional>
#include <string>

namespace sculpt {

/// Calls `work` in a copy of this process and returns its result. What the function opens, such as
/// a GPU, and the memory that it takes are free afterwards. Throws Error with the same text if the
/// function throws, and Error with the reason if the copy is killed. Call this only while the
/// process has a single thread.
std::string in_other_process(const std::function<std::string()>& work);

}  // namespace sculpt
