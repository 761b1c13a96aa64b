#include "apps/sculpt_bench/comparison.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace sculpt::bench {

namespace {

double seconds_per_call(const std::function<void()>& body, double least_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double seconds = 0;
  int64_t calls = 0;
  while (calls == 0 || seconds < least_seconds) {
    body();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return seconds / static_cast<double>(calls);
}

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double Timed::dense_seconds() const {
  return median(dense);
}

double Timed::sparse_seconds() const {
  return median(sparse);
}

std::vector<double> Timed::ratios() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < dense.size(); ++i)
    ratios.push_back(dense[i] / sparse[i]);
  std::ranges::sort(ratios);
  return ratios;
}

Timed compare(const std::function<void()>& dense, const std::function<void()>& sparse, int rounds,
              double least_seconds) {
  Timed timed;
  for (int round = 0; round < rounds; ++round) {
    timed.dense.push_back(seconds_per_call(dense, least_seconds));
    timed.sparse.push_back(seconds_per_call(sparse, least_seconds));
  }
  return timed;
}

}  // namespace sculpt::bench
