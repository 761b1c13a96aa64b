#pragma once
// The CPU's thread pool. Work is split statically, so which thread computes what depends only on
// the item count and the thread count: results are bit-identical for a given thread count.

#include <cstdint>
#include <functional>

namespace sculpt {

/// Threads that parallel_for uses, the calling thread included.
int thread_count();

/// Sets the number of threads (>= 1). Not to be called from inside parallel_for.
void set_thread_count(int count);

/// Calls body(begin, end, thread) once per thread with a contiguous share of [0, count); returns
/// when all are done. Runs inline for count <= 1, one thread, or when called from inside a
/// parallel_for. `thread` is in [0, thread_count()). An exception in a body is rethrown here.
void parallel_for(int64_t count,
                  const std::function<void(int64_t begin, int64_t end, int thread)>& body);

}  // namespace sculpt
