#pragma once
// Streams: queues of work, which a device works off in an order of its own. The layer chooses that
// order, so that work which lacks an edge (an event that another stream waits for) computes
// something wrong in some order.
//
// Work that cannot finish yet, such as a sum whose other ranks have not come, stays in its queue.
// From the first such work on, a thread works queues off while the host computes something else, as
// a device does.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda_on_host/runtime.h"

namespace cuda_on_host {

/// Work on a stream. It is called until it returns true, by any thread, and must not wait. Work
/// that a graph keeps is called in this way at each launch of the graph.
using Work = std::function<bool()>;

/// The order in which a device works. "Side streams" are those with a priority above the default.
enum class StreamOrder {
  kIssued,     ///< as the calls were made: each piece of work as soon as it can
  kSideFirst,  ///< side streams as early as edges allow, others only when they are waited for
  kSideLast,   ///< side streams only when something waits for them
  kShuffle,    ///< by chance
};

/// Sets the order of later work, of graphs, too. Until it is called the environment decides:
/// SCULPT_HOST_STREAMS=issued|side-first|side-last|shuffle:SEED (issued if unset).
void set_stream_order(StreamOrder order, uint64_t seed = 0);

/// Puts work on a stream. If the stream is being captured, the work becomes part of the graph.
/// Throws std::invalid_argument, naming `what`, if this thread captures other streams only.
void put(const char* what, void* stream, Work work);

/// Returns true if the bytes lie within one block of cudaMalloc that was not freed.
bool is_device_memory(const void* memory, size_t bytes);

}  // namespace cuda_on_host
