#include "apps/sculpt_bench/sparse_step.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <vector>

namespace sculpt::bench {

namespace {

constexpr double kSparsities[] = {0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99};

/// Seconds per step, of as many as take `least_seconds`.
double seconds_per_step(TrainingStep& step, double least_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double seconds = 0;
  int64_t steps = 0;
  while (steps == 0 || seconds < least_seconds) {
    step.run();
    step.finish();
    ++steps;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return seconds / static_cast<double>(steps);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

void print_sparse_steps(const StepOptions& options, int rounds, double least_seconds) {
  fmt::print("{}, batch {}, medians of {} rounds.\n\n", options.model, options.batch, rounds);
  fmt::print("| sparsity | dense kernels, ms | sparse kernels, ms | ratio | least to most |\n");
  fmt::print("|---|---|---|---|---|\n");
  for (const double sparsity : kSparsities) {
    TrainingStep sparse(options), dense(options);
    dense.network().graph().replay().sparse = SparseKernels::off;
    for (TrainingStep* step : {&sparse, &dense}) {
      mask_at_random(*step, sparsity);
      step->run();  // finds the kept weights
    }
    std::vector<double> sparse_seconds, dense_seconds, ratios;
    for (int round = 0; round < rounds; ++round) {
      dense_seconds.push_back(seconds_per_step(dense, least_seconds));
      sparse_seconds.push_back(seconds_per_step(sparse, least_seconds));
      ratios.push_back(dense_seconds.back() / sparse_seconds.back());
    }
    fmt::print("| {:g} % | {:.2f} | {:.2f} | {:.2f} | {:.2f} to {:.2f} |\n", 100 * sparsity,
               1e3 * median(dense_seconds), 1e3 * median(sparse_seconds), median(ratios),
               *std::ranges::min_element(ratios), *std::ranges::max_element(ratios));
    std::fflush(stdout);
  }
}

}  // namespace sculpt::bench
