#include "kernels/common/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/start_thread.h"

namespace sculpt {
namespace {

/// A type-erased body.
struct Body {
  const void* object = nullptr;
  detail::ParallelBody call = nullptr;
};

// True while a thread runs a body. Nested calls then run inline.
thread_local bool inside_parallel_for = false;
thread_local bool single_threaded = false;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Workers spin for a while before they sleep. A training step has hundreds of short parallel loops,
// and waking a sleeping worker takes longer than running most of these loops.
constexpr int kSpins = 4000;

class Pool {
 public:
  explicit Pool(int count) : count_(count) {
    try {
      for (int thread = 1; thread < count; ++thread)
        workers_.push_back(start_thread("computes", [this, thread] { work(thread); }));
    } catch (...) {
      stop();  // those that were started wait for work, and no destructor will run
      throw;
    }
  }

  ~Pool() { stop(); }

  int count() const { return count_; }

  void run(int64_t items, Body body) {
    body_ = body;
    items_ = items;
    pending_.store(count_ - 1, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    run_share(0);
    for (int spin = 0; pending_.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins)
        relax();
      else
        std::this_thread::yield();
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_)
      worker.join();
  }

  void run_share(int thread) {
    const int64_t begin = items_ * thread / count_;
    const int64_t end = items_ * (thread + 1) / count_;
    if (begin == end) return;
    inside_parallel_for = true;
    try {
      body_.call(body_.object, begin, end, thread);
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_parallel_for = false;
  }

  void work(int thread) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen;
           ++spin)
        relax();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
      }
      ++seen;
      if (stopping_) return;
      run_share(thread);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int count_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  std::atomic<bool> stopping_{false};
  Body body_;
  int64_t items_ = 0;
  std::exception_ptr error_;
};

int default_count() {
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// The pool is created at its first use and only accessed while `mutex` is held. One parallel_for of
// the process runs at a time; a second thread that calls parallel_for waits.
struct Shared {
  std::mutex mutex;
  std::unique_ptr<Pool> pool;
  std::atomic<int> count{default_count()};
};

Shared& shared() {
  static Shared instance;
  return instance;
}

}  // namespace

SingleThreaded::SingleThreaded() : before_(std::exchange(single_threaded, true)) {}

SingleThreaded::~SingleThreaded() {
  single_threaded = before_;
}

int thread_count() {
  if (single_threaded) return 1;
  return shared().count.load(std::memory_order_relaxed);
}

void set_thread_count(int count) {
  if (count < 1) fail("thread count must be at least 1, not {}", count);
  SCULPT_CHECK(!inside_parallel_for, "set_thread_count called from inside parallel_for");
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  if (count == s.count.load(std::memory_order_relaxed)) return;
  s.pool.reset();
  s.count.store(count, std::memory_order_relaxed);
}

void detail::parallel_for(int64_t count, const void* body, ParallelBody call) {
  if (count <= 0) return;
  if (count == 1 || inside_parallel_for || thread_count() == 1) {
    call(body, 0, count, 0);
    return;
  }
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  if (!s.pool) s.pool = std::make_unique<Pool>(s.count.load(std::memory_order_relaxed));
  s.pool->run(count, {body, call});
}

}  // namespace sculpt
