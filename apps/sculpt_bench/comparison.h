#pragma once
// The same work on dense and on sparse kernels, timed in turn, so that the machine's moods hit
// both.

#include <functional>
#include <vector>

namespace sculpt::bench {

struct Timed {
  std::vector<double> dense, sparse;  ///< seconds of a call, per round

  double dense_seconds() const;  ///< median
  double sparse_seconds() const;
  /// dense / sparse of each round, ascending.
  std::vector<double> ratios() const;
};

/// `rounds` times a block of calls of either, each of at least `least_seconds`. A call returns when
/// its work is done.
Timed compare(const std::function<void()>& dense, const std::function<void()>& sparse, int rounds,
              double least_seconds);

/// The middle one; the upper one of two.
double median(std::vector<double> values);

}  // namespace sculpt::bench
