#pragma once
// Each kernel of a training step by itself, on any backend: how long a call takes, and how far that
// is from what the device can copy and multiply.

#include <string>
#include <vector>

#include "apps/sculpt_bench/node_cost.h"
#include "engine/nn/network.h"

namespace sculpt::bench {

struct KernelTime {
  std::string kernel;  ///< "conv2d, forward"
  std::string shape;   ///< "16x32x32 -> 32x16x16, weight 32x16x3x3"
  int64_t calls = 1;   ///< in a training step; 0 if it is not part of one
  double seconds = 0;  ///< of one call
  Cost cost;           ///< of one call
};

/// Times every different op of the network in both directions with batches of max_batch images, the
/// masked update, and scores and ranking of a prune. Calls are repeated until `least_seconds` have
/// passed and the device has finished; the best of some such rounds counts. What a call works on
/// may stay in a cache from one call to the next, so a rate can exceed that of copying. Leaves
/// weights and gradients as random as the repetitions make them.
std::vector<KernelTime> time_kernels(Network& network, double least_seconds);

/// What a backend reaches at best: copying activations larger than caches (read + written), and
/// multiplying square matrices by its own kernel.
struct BackendRates {
  double bytes_per_second = 0;
  double flops_per_second = 0;
};
BackendRates measure_backend(const kernels::Backend& backend, double least_seconds);

/// A table of these in Markdown.
void print_kernel_times(Network& network, double least_seconds);

}  // namespace sculpt::bench
