#pragma once
// The statistics with which reports compare runs: means over seeds, their spread, and confidence
// intervals of paired differences.

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace sculpt {

/// Mean and spread of some values.
struct Sample {
  int64_t n = 0;
  double mean = NAN;
  /// The sample standard deviation, with n - 1 in the denominator. Not a number for fewer than two
  /// values.
  double deviation = NAN;

  /// The length of an error bar, which a single value has none of.
  double error_bar() const { return n == 1 ? 0 : deviation; }
};

/// Describes the values that are finite.
Sample describe(std::span<const double> values);

/// Returns the value t for which a variable with Student's t distribution lies in [-t, t] with the
/// given probability, in (0, 1). `degrees` is the number of degrees of freedom, at least 1.
double student_t_bound(double probability, int64_t degrees);

/// The difference of two methods, measured in pairs: both values of a pair come from runs that have
/// everything but the method in common, such as the seed.
struct PairedDifference {
  std::vector<double> differences;
  Sample sample;
  /// The confidence interval of the mean difference: mean ± t · deviation / √n, with Student's t
  /// for n - 1 degrees of freedom. Not a number for fewer than two pairs.
  double low = NAN, high = NAN;
};

/// Describes differences that come from independent pairs.
PairedDifference paired_difference(std::vector<double> differences, double probability = 0.95);

}  // namespace sculpt
