#pragma once
// The CPU's thread pool. Work is split statically, so which thread computes what depends only on
// the item count and the thread count: results are bit-identical for a given thread count.

#include <cstdint>

namespace sculpt {

/// Threads that parallel_for uses, the calling thread included. 1 while a SingleThreaded object
/// lives on the calling thread.
int thread_count();

/// Sets the number of threads (>= 1). Not to be called from inside parallel_for.
void set_thread_count(int count);

/// While this object lives, parallel_for runs inline on the thread that made it. Several threads
/// can then compute at the same time, each for itself.
class SingleThreaded {
 public:
  SingleThreaded();
  ~SingleThreaded();
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  bool before_;
};

namespace detail {
using ParallelBody = void (*)(const void* body, int64_t begin, int64_t end, int thread);
void parallel_for(int64_t count, const void* body, ParallelBody call);
}  // namespace detail

/// Calls body(begin, end, thread) once per thread with a contiguous share of [0, count); returns
/// when all are done. Runs inline for count <= 1, one thread, or when called from inside a
/// parallel_for. `thread` is in [0, thread_count()); inline calls get 0. An exception in a body is
/// rethrown here (one of them, if several threads throw).
///
/// A template over the body, not a std::function: a step of training calls this hundreds of times
/// and must not allocate.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  detail::parallel_for(count, &body,
                       [](const void* erased, int64_t begin, int64_t end, int thread) {
                         (*static_cast<const Body*>(erased))(begin, end, thread);
                       });
}

}  // namespace sculpt
