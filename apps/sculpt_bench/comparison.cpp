#include "apps/sculpt_bench/comparison.h"

#include <algorithm>
#include <cstdint>

#include "kernels/common/stopwatch.h"

namespace sculpt::bench {

namespace {

double seconds_per_call(const std::function<void()>& body, double least_seconds) {
  const double start = working_seconds();
  double seconds = 0;
  int64_t calls = 0;
  while (calls == 0 || seconds < least_seconds) {
    body();
    ++calls;
    seconds = working_seconds() - start;
  }
  return seconds / static_cast<double>(calls);
}

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double Timed::usual_seconds() const {
  return median(usual);
}

double Timed::other_seconds() const {
  return median(other);
}

std::vector<double> Timed::ratios() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < usual.size(); ++i)
    ratios.push_back(usual[i] / other[i]);
  std::ranges::sort(ratios);
  return ratios;
}

Timed compare(const std::function<void()>& usual, const std::function<void()>& other, int rounds,
              double least_seconds) {
  Timed timed;
  for (int round = 0; round < rounds; ++round) {
    timed.usual.push_back(seconds_per_call(usual, least_seconds));
    timed.other.push_back(seconds_per_call(other, least_seconds));
  }
  return timed;
}

}  // namespace sculpt::bench
