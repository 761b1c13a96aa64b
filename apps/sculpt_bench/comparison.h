#pragma once
// Times the same work on the usual kernels and on others. The two alternate, so that slow phases of
// the machine affect both equally.

#include <functional>
#include <vector>

namespace sculpt::bench {

struct Timed {
  /// Seconds of a call in each round: wall time, or CPU time with --threads 1 (stopwatch.h).
  std::vector<double> usual, other;

  double usual_seconds() const;  ///< median over the rounds
  double other_seconds() const;
  /// Returns usual / other of each round, in ascending order.
  std::vector<double> ratios() const;
};

/// Runs `rounds` rounds. A round is a block of calls of `usual` and a block of calls of `other`,
/// each of at least `least_seconds`. A call must return only when its work is done.
Timed compare(const std::function<void()>& usual, const std::function<void()>& other, int rounds,
              double least_seconds);

/// Returns the middle value, or the upper of the two middle values.
double median(std::vector<double> values);

}  // namespace sculpt::bench
