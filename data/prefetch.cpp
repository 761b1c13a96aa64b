#include "data/prefetch.h"

#include <utility>

#include "engine/core/error.h"
#include "kernels/common/start_thread.h"

namespace sculpt::data {

Prefetcher::Prefetcher(int slots, Fill fill) : slots_(slots), fill_(std::move(fill)) {
  SCULPT_CHECK(slots >= 2, "a prefetcher needs 2 slots or more, not {}", slots);
  thread_ = start_thread("loads images", [this] { run(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::pause() {
  std::unique_lock lock(mutex_);
  end_ = prepared_;
  changed_.wait(lock, [&] { return !filling_; });
  taken_ = prepared_ = end_ = 0;
  error_ = nullptr;
}

void Prefetcher::start(int64_t first, int64_t end) {
  pause();
  {
    const std::lock_guard lock(mutex_);
    taken_ = prepared_ = first;
    end_ = end;
  }
  changed_.notify_all();
}

int Prefetcher::next() {
  std::unique_lock lock(mutex_);
  if (taken_ >= end_) return -1;
  changed_.wait(lock, [&] { return taken_ < prepared_ || error_ != nullptr; });
  if (taken_ == prepared_) std::rethrow_exception(error_);
  const int slot = slot_of(taken_++);
  lock.unlock();
  changed_.notify_all();  // the slot that was delivered before is free now
  return slot;
}

bool Prefetcher::may_fill() const {
  // The caller uses the slot of step taken_ - 1.
  return error_ == nullptr && prepared_ < end_ && prepared_ < taken_ - 1 + slots_;
}

void Prefetcher::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || may_fill(); });
    if (stop_) return;
    const int64_t step = prepared_;
    filling_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      fill_(step, slot_of(step));
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    filling_ = false;
    if (error) {
      error_ = error;
    } else {
      ++prepared_;
    }
    changed_.notify_all();
  }
}

}  // namespace sculpt::data
