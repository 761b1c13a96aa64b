#pragma once
// Measures for how long this process has done nothing. A process that waits for a lock for ever
// looks like this; a process that computes, or waits for a disk, or for somebody to read its
// output, does not.

#include <chrono>

namespace sculpt {

/// Returns true if the reader of a pipe or terminal has not read what it holds, as in a pager. The
/// next line of output waits for the reader.
bool is_full(int file);

class Activity {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Activity(Clock::time_point now);

  /// Looks at the processor time of all threads but the calling one, at threads that wait for a
  /// disk, and at the standard output. Call it about once a second, from one thread. Returns the
  /// seconds since the process last did something.
  double idle_seconds(Clock::time_point now);

 private:
  Clock::time_point sampled_, active_;
  double used_ = 0;  ///< processor time of the other threads at the last sample, in seconds
};

}  // namespace sculpt
