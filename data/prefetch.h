#pragma once
// A Prefetcher is a background thread that prepares numbered steps ahead of their use.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace sculpt::data {

/// Calls fill(step, slot) on its own thread for step = first, first+1, ... and delivers the slots
/// in that order. At most `slots` slots exist: the caller uses one, and the thread prepares the
/// others. If fill throws, the exception is rethrown by the next() that would have delivered that
/// step, and by every later next() until start().
class Prefetcher {
 public:
  using Fill = std::function<void(int64_t step, int slot)>;

  /// Requires slots >= 2.
  Prefetcher(int slots, Fill fill);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Drops all prepared steps. When this function returns, the thread is outside fill, and it stays
  /// there until start().
  void pause();
  /// Prepares steps [first, end).
  void start(int64_t first, int64_t end);
  /// Returns the slot of the next step, or -1 after the last step. The slot is valid until the next
  /// call of any function of this class.
  int next();

 private:
  void run();
  bool may_fill() const;
  int slot_of(int64_t step) const { return static_cast<int>(step % slots_); }

  const int slots_;
  const Fill fill_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // mutex_ guards all members below.
  int64_t taken_ = 0;     // next step to hand out
  int64_t prepared_ = 0;  // next step to prepare
  int64_t end_ = 0;
  bool filling_ = false;
  bool stop_ = false;
  std::exception_ptr error_;  // exception of step prepared_
  std::thread thread_;        // last member, because it uses the other members
};

}  // namespace sculpt::data
