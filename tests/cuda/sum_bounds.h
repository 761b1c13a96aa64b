#pragma once
// Bounds of the rounding errors of sums of many products.
//
// The factors are uniform in [-1, 1), so that a product has mean 0 and standard deviation 1/3, and
// a sum of n of them is within kDeviations * sqrt(n) / 3 but for one in 10^9. Where n products are
// added up `depth` at a time, the rounding of each of the n / depth additions is at most `unit`
// times the sum so far: in all unit * (2/3) * (n / depth) * kDeviations * sqrt(n) / 3, were all to
// err in one direction. Sums of several such chains, whose errors are independent, err by the
// square root of their number more.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

namespace sculpt::test {

/// The largest relative change when a number is rounded to float and to bf16. It is a little more
/// than half a unit in the last place, because a sum with an error may round to the next number.
inline constexpr double kFloatUnit = 1.01 / (1 << 24);
inline constexpr double kBf16Unit = 1.01 / (1 << 8);

inline constexpr double kDeviations = 6;

/// Describes the additions of a precision. Tensor cores truncate sums instead of rounding them,
/// after they have truncated each product to the unit of the largest product.
struct Additions {
  double unit;
  double depth;
};
inline Additions additions_of(const std::string& precision) {
  if (precision == "bf16") return {4 * kFloatUnit, 16};
  if (precision == "tf32") return {4 * kFloatUnit, 8};
  return {kFloatUnit, 1};
}

/// Bound of the error of a sum of `length` products in chains of at most `chain`.
inline double sum_error(const std::string& precision, int64_t length, int64_t chain) {
  const Additions additions = additions_of(precision);
  const double n = static_cast<double>(std::min(length, chain));
  const double steps = std::ceil(n / additions.depth);
  const double one = additions.unit * 2 / 3 * (steps + 1) * kDeviations * std::sqrt(n) / 3;
  return one * std::sqrt(static_cast<double>(length) / n);
}

}  // namespace sculpt::test
