#pragma once
// The queues of streams, as the files of the layer see them.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "cuda_on_host/streams.h"

namespace cuda_on_host {

/// The work of a stream. It outlives the stream if work remains.
struct Queue {
  int device = 0;
  bool side = false;
  bool blocking = true;  ///< whether the default stream waits for it
  std::deque<Work> work;
  uint64_t given = 0;  ///< pieces of work so far
  uint64_t done = 0;   ///< of these
};

/// Returns the queue of a stream; that of the default stream if it is null.
std::shared_ptr<Queue> queue_of(cudaStream_t stream);

/// Puts work at the end of a queue.
void put(const std::shared_ptr<Queue>& queue, Work work);
/// Works off the first `last` pieces of a queue, as far as possible. Returns true if they are done.
bool work_off(Queue& queue, uint64_t last);
/// Returns when the first `last` pieces of a queue are done.
void wait_for(Queue& queue, uint64_t last);
/// Returns when the default stream and the streams that are ordered with it have done their work.
void wait_for_default_stream();
/// Returns when all streams of a device have done their work.
void wait_for_device(int device);

/// Keeps the work of a stream that is being destroyed, if some remains.
void leave_work(cudaStream_t stream);

/// Chooses from pieces of work that could be next, in the order of their issue; `is_side(i)` says
/// whether piece i belongs to a side stream. Returns an index. `count` must not be 0.
size_t choose_next(size_t count, const std::function<bool(size_t)>& is_side);

// capture.cpp ---------------------------------------------------------------------------------

/// Keeps one piece of work of a captured stream.
void capture_work(cudaStream_t stream, Work work);
/// The place of an event in a capture.
struct CapturedPlace {
  uint64_t capture = 0;    ///< the number of the capture; 0: recorded outside of captures
  std::vector<int> nodes;  ///< of the graph, on which work after the event depends
};
/// If the stream is being captured, records the event's place and returns true.
bool record_in_capture(cudaStream_t stream, CapturedPlace& place);
/// Adds an edge if the wait belongs to a capture. Returns false if it does not.
bool wait_in_capture(cudaStream_t stream, const CapturedPlace& place, cudaError_t& error);

}  // namespace cuda_on_host

struct CUstream_st {
  std::shared_ptr<cuda_on_host::Queue> queue;
};

struct CUevent_st {
  /// Outlives the event if the work that notes the time remains.
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
  int device = 0;
  cudaStream_t stream = nullptr;
  std::shared_ptr<cuda_on_host::Queue> queue;  ///< null until the event is recorded
  uint64_t given = 0;                          ///< pieces of work of the queue before the event
  uint64_t transfers = 0;                      ///< that had begun when the event was recorded
  cuda_on_host::CapturedPlace captured;
};
