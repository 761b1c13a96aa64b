#pragma once
// CUDA graphs: what is launched on a stream while it is captured is kept, with copies of its
// arguments, and executed whenever the graph is launched. Work follows the work before it on its
// stream, and the work of other streams that lies before an event for which its stream waits. A
// graph executes its work in any order that respects this (streams.h).
//
// A capture begins on one stream. Another stream joins it by waiting for an event of the capture,
// and must be waited for, directly or not, by the first stream before the capture ends. As on a
// device, a capture fails (cudaErrorStreamCaptureUnsupported, then
// cudaErrorStreamCaptureInvalidated from cudaStreamEndCapture) when the capturing thread waits for
// a stream or an event or allocates memory meanwhile. Stricter than a device, it also fails at a
// copy from or to the host, which a graph would repeat with whatever lies there by then, and at a
// kernel that has not been launched before: a device may have to load it, which allocates.

#include <functional>

namespace cuda_on_host {

/// Returns true if work on `stream` is kept instead of executed. Throws std::invalid_argument,
/// naming `what`, if this thread is capturing, but not this stream.
bool is_captured(const char* what, void* stream);
/// Keeps one piece of work of a captured stream.
void capture(void* stream, std::function<void()> work);
/// Keeps the launch of a kernel. Throws std::invalid_argument if none of that name was launched
/// before.
void capture_launch(const char* kernel, void* stream, std::function<void()> run);
/// Invalidates the capture of this thread and returns true. Returns false if this thread is not
/// capturing. Calls that a capture does not survive use this function.
bool spoils_capture();

}  // namespace cuda_on_host
