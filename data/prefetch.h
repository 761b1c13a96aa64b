#pragma once
// A background thread that prepares numbered steps ahead of their use.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace sculpt::data {

/// Calls fill(step, slot) on its own thread for step = first, first+1, ... and hands the slots out
/// in that order. At most `slots` exist: one in the caller's hands, the others being prepared. An
/// exception of fill is rethrown by the next() that would have delivered that step, and by every
/// later one until start().
class Prefetcher {
 public:
  using Fill = std::function<void(int64_t step, int slot)>;

  /// slots >= 2.
  Prefetcher(int slots, Fill fill);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Drops what was prepared; on return the thread is outside fill and stays so until start().
  void pause();
  /// Prepares steps [first, end).
  void start(int64_t first, int64_t end);
  /// Slot of the next step, to be kept until the next call of any function here; -1 after the last.
  int next();

 private:
  void run();
  bool may_fill() const;
  int slot_of(int64_t step) const { return static_cast<int>(step % slots_); }

  const int slots_;
  const Fill fill_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // All below: guarded by mutex_.
  int64_t taken_ = 0;     // next step to hand out
  int64_t prepared_ = 0;  // next step to prepare
  int64_t end_ = 0;
  bool filling_ = false;
  bool stop_ = false;
  std::exception_ptr error_;  // of step prepared_
  std::thread thread_;        // last: it uses the others
};

}  // namespace sculpt::data
