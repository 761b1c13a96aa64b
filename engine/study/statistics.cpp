#include "engine/study/statistics.h"

#include <limits>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {
namespace {

/// Returns the continued fraction of the incomplete beta function, by the modified method of Lentz
/// (Press et al., Numerical Recipes, section 6.4). It converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double value) { return std::fabs(value) < kTiny ? kTiny : value; };
  double c = 1;
  double d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double result = d;
  for (int m = 1; m <= 10'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double factor = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      factor = c * d;
      result *= factor;
    }
    if (std::fabs(factor - 1) < std::numeric_limits<double>::epsilon()) return result;
  }
  fail("the incomplete beta function of {}, {} at {} does not converge", a, b, x);
}

/// Returns the regularised incomplete beta function I_x(a, b).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  const double front = std::exp(log_front);
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/// Returns the probability that Student's t lies outside [-t, t].
double two_sided_tail(double t, double degrees) {
  return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t));
}

}  // namespace

Sample describe(std::span<const double> values) {
  Sample sample;
  double sum = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++sample.n;
  }
  if (sample.n == 0) return sample;
  sample.mean = sum / static_cast<double>(sample.n);
  if (sample.n == 1) return sample;
  double squares = 0;
  for (const double value : values)
    if (std::isfinite(value)) squares += (value - sample.mean) * (value - sample.mean);
  sample.deviation = std::sqrt(squares / static_cast<double>(sample.n - 1));
  return sample;
}

double student_t_bound(double probability, int64_t degrees) {
  if (!(probability > 0 && probability < 1) || degrees < 1)
    fail("Student's t needs a probability between 0 and 1 and a degree of freedom, not {} and {}",
         probability, degrees);
  const double tail = 1 - probability;
  const double n = static_cast<double>(degrees);
  double low = 0, high = 1;
  while (two_sided_tail(high, n) > tail)
    high *= 2;
  // Bisection ends when no double lies between the two bounds.
  for (double middle = high / 2; middle > low && middle < high; middle = low + (high - low) / 2)
    (two_sided_tail(middle, n) > tail ? low : high) = middle;
  return high;
}

PairedDifference paired_difference(std::vector<double> differences, double probability) {
  PairedDifference result;
  result.differences = std::move(differences);
  result.sample = describe(result.differences);
  if (result.sample.n < 2) return result;
  const double half = student_t_bound(probability, result.sample.n - 1) * result.sample.deviation /
                      std::sqrt(static_cast<double>(result.sample.n));
  result.low = result.sample.mean - half;
  result.high = result.sample.mean + half;
  return result;
}

}  // namespace sculpt
