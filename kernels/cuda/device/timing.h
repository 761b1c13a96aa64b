#pragma once
// Measures how long work on the device takes.

#include <functional>

namespace sculpt::kernels::cuda {

/// Returns the median microseconds of the work that `launch` puts on `stream`, after a few runs to
/// warm up. Waits for the stream. Must not be called while the stream is captured.
double median_microseconds(const std::function<void()>& launch, void* stream);

}  // namespace sculpt::kernels::cuda
