#pragma once
// The same work on the usual kernels and on others, timed in turn, so that the machine's moods hit
// both.

#include <functional>
#include <vector>

namespace sculpt::bench {

struct Timed {
  /// Seconds of a call, per round: wall time, or CPU time with --threads 1 (stopwatch.h).
  std::vector<double> usual, other;

  double usual_seconds() const;  ///< median
  double other_seconds() const;
  /// usual / other of each round, ascending.
  std::vector<double> ratios() const;
};

/// `rounds` times a block of calls of either, each of at least `least_seconds`. A call returns when
/// its work is done.
Timed compare(const std::function<void()>& usual, const std::function<void()>& other, int rounds,
              double least_seconds);

/// The middle one; the upper one of two.
double median(std::vector<double> values);

}  // namespace sculpt::bench
