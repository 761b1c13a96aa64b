#pragma once
// How long work on the device takes.

#include <functional>

namespace sculpt::kernels::cuda {

/// Median microseconds of what `launch` puts on `stream`, after a few runs to warm up. Waits for
/// the stream; not while it is captured.
double median_microseconds(const std::function<void()>& launch, void* stream);

}  // namespace sculpt::kernels::cuda
