#pragma once
// CUDA graphs: what is launched on a stream while it is captured is kept, with copies of its
// arguments, and executed whenever the graph is launched.
//
// As on a device, a capture fails (cudaErrorStreamCaptureUnsupported, then
// cudaErrorStreamCaptureInvalidated from cudaStreamEndCapture) when something waits for the stream
// or allocates memory meanwhile. Stricter than a device, it also fails at a copy from or to the
// host, which a graph would repeat with whatever lies there by then, at events, and at a kernel
// that has not run before: a device may have to load it, which allocates.

#include <functional>

namespace cuda_on_host {

/// Returns true if work on `stream` is kept instead of executed. Throws std::invalid_argument,
/// naming `what`, if another stream is being captured, because the backend uses one stream.
bool is_captured(const char* what, void* stream);
/// Keeps one piece of work.
void capture(std::function<void()> work);
/// Keeps the launch of a kernel. Throws std::invalid_argument if none of that name has run before.
void capture_launch(const char* kernel, std::function<void()> run);
/// Invalidates the current capture and returns true. Returns false if nothing is being captured.
/// Calls that a capture does not survive use this function.
bool spoils_capture();

}  // namespace cuda_on_host
