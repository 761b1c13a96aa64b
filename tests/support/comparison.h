#pragma once
// Comparisons of arrays that several suites need.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <ranges>
#include <span>

namespace sculpt::testing {

/// Returns true if x is 0 and its sign is not set. Masked elements must be exactly that.
inline bool is_plus_zero(double x) {
  return x == 0 && !std::signbit(x);
}

template <class T>
bool same_bytes(std::span<T> a, std::span<T> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

/// Returns |actual - expected| / |expected| by the Euclidean norm. Two arrays of zeros are equal.
template <std::ranges::sized_range Actual, std::ranges::sized_range Expected>
double relative_error(const Actual& actual, const Expected& expected) {
  REQUIRE(std::ranges::size(actual) == std::ranges::size(expected));
  double difference = 0, norm = 0;
  auto a = std::ranges::begin(actual);
  for (const auto e : expected) {
    const double distance = static_cast<double>(*a++) - static_cast<double>(e);
    difference += distance * distance;
    norm += static_cast<double>(e) * static_cast<double>(e);
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

}  // namespace sculpt::testing
