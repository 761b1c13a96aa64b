#pragma once
// Times each kernel of a training step separately, on any backend, and compares it with the rates
// at which the device copies and multiplies.

#include <string>
#include <vector>

#include "apps/sculpt_bench/node_cost.h"
#include "engine/nn/network.h"

namespace sculpt::bench {

struct KernelTime {
  std::string kernel;  ///< for example "conv2d, forward"
  std::string shape;   ///< for example "16x32x32 -> 32x16x16, weight 32x16x3x3"
  int64_t calls = 1;   ///< calls in a training step; 0 if the kernel is not part of a step
  double seconds = 0;  ///< seconds of one call
  Cost cost;           ///< cost of one call
};

/// Times every different op of the network in both directions with batches of max_batch images, the
/// masked update, and the scores and ranking of a prune. Calls are repeated until `least_seconds`
/// have passed and the device has finished; the best of some such rounds counts. The data of a call
/// may stay in a cache until the next call, so a rate can exceed that of copying. Afterwards,
/// weights and gradients hold whatever the repetitions have computed.
std::vector<KernelTime> time_kernels(Network& network, double least_seconds);

/// Returns the shapes of the input, the output and the weight of an op, as in KernelTime::shape.
std::string shape_of(const Graph& graph, const Node& node);

/// The highest rates of a backend: copying activations larger than caches (read + written), and
/// multiplying square matrices by its own kernel.
struct BackendRates {
  double bytes_per_second = 0;
  double flops_per_second = 0;
};
BackendRates measure_backend(const kernels::Backend& backend, double least_seconds);

/// Prints a Markdown table of the times of time_kernels().
void print_kernel_times(Network& network, double least_seconds);

}  // namespace sculpt::bench
