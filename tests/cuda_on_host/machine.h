#pragma once
// The machine that executes a grid: the threads of the running block, who may run and who waits.
// Everything here is touched by one OS thread. These files are compiled without ThreadSanitizer and
// call no code of the standard library while fibers run, since that could be an instrumented copy.

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "cuda_on_host/fiber.h"
#include "cuda_on_host/grid.h"
#include "cuda_on_host/sanitizers.h"
#include "cuda_on_host/survey.h"

#if defined(CUDA_ON_HOST_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace cuda_on_host {

constexpr uint32_t kMaxThreads = 1024;
constexpr int kMaxPendingCopies = 256;

#if defined(CUDA_ON_HOST_TSAN)
// ThreadSanitizer takes a fiber for one thread, so each thread of a block needs its own. A token
// orders what a thread did before it released it and what another does once it acquired it.
constexpr bool kFiberRunsManyThreads = false;
inline void release(void* token) {
  __tsan_release(token);
}
inline void acquire(void* token) {
  __tsan_acquire(token);
}
#else
constexpr bool kFiberRunsManyThreads = true;
inline void release(void*) {}
inline void acquire(void*) {}
#endif

enum class Waits : uint8_t { kNot, kForBlock, kForWarp, kExited };

/// The cp.async copies of a thread, a ring in the order of issue.
struct AsyncCopies {
  struct Entry {
    AsyncCopy copy;
    int group;
  };
  Entry* entries;
  int first;
  int count;
  int group;  // the one that is open
};

struct Thread {
  Fiber* fiber;  // null until it starts
  uint3 index;
  uint32_t id;
  Waits waits;
  bool fenced;
  // The operation that the thread waits at.
  const char* what;
  const char* file;
  int line;
  uint32_t mask;
  WarpOperation operation;
  void* data;
  AsyncCopies copies;
};

struct Warp {
  uint32_t waiting;
  uint32_t exited;
  uint32_t num_lanes;
  Thread* in_order[32];
  // Tokens for the sanitizer, by mask. They alternate from one operation to the next, so that a
  // thread does not acquire what a faster thread releases at the following operation.
  uint32_t turn[4];
  char token[4][2];
};

struct Machine {
  std::mutex mutex;  // held while a grid runs
  const char* kernel = nullptr;
  void (*body)(void*) = nullptr;
  void* arguments = nullptr;
  void* dynamic_shared = nullptr;
  size_t dynamic_shared_bytes = 0;

  Fiber host;
  Fiber* idle[kMaxThreads] = {};
  uint32_t num_idle = 0;
  uint32_t num_fibers = 0;

  Thread threads[kMaxThreads] = {};
  Thread* in_order[kMaxThreads] = {};
  Warp warps[kMaxThreads / 32] = {};
  uint32_t num_threads = 0;
  uint32_t num_exited = 0;
  Thread* running = nullptr;

  // The threads that may run next: a ring.
  Thread* ready[kMaxThreads] = {};
  uint32_t ready_first = 0;
  uint32_t ready_count = 0;

  // The barrier of the block. Results and tokens alternate: a thread may fetch its result after a
  // faster one came to the next barrier.
  BarrierCount barrier = {};
  BarrierCount barrier_result[2] = {};
  uint32_t barrier_turn = 0;
  char barrier_token[2] = {};
  // The host before a block is ordered before its threads, and these before the host after it. With
  // one token for both, a thread would be ordered after those that exited before it started.
  char start_token = 0;
  char exit_token = 0;
};
extern Machine& machine;

// schedule.cpp --------------------------------------------------------------------------------

void push_ready_back(Thread* thread);
void push_ready_front(Thread* thread);
/// Runs all threads of the block, which are in machine.ready; returns when the last has exited.
void run_threads();
/// The running thread waits; returns when it may go on.
void pause();

// wait.cpp ------------------------------------------------------------------------------------

/// Called when a thread has exited, because other threads may have waited for it.
void release_those_who_waited_for(const Thread& exited);

// launches.cpp --------------------------------------------------------------------------------

void note_launch(const char* kernel);

// survey.cpp ----------------------------------------------------------------------------------

/// Returns what blocks did since the last call.
BlockWork take_counted_work();
void tell_observer(const SurveyedLaunch& launch);

// report.cpp ----------------------------------------------------------------------------------

/// Ends the process with a report of what the threads of the block wait at.
[[noreturn]] void fail_waiting(const char* message);

}  // namespace cuda_on_host
