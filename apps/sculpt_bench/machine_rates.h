#pragma once
// The peak rates of the machine, and the least time that work needs at these rates.

#include "apps/sculpt_bench/node_cost.h"
#include "engine/nn/network.h"

namespace sculpt::bench {

struct MachineRates {
  double flops_per_second = 0;  ///< independent fused multiply-adds in registers
  double bytes_per_second = 0;  ///< copying between arrays larger than the caches, read + written
};

/// Measures the CPU with the present number of threads, in wall time, or in CPU time if there is
/// one thread (stopwatch.h). This takes about a second.
MachineRates measure_machine();
/// Measures the device that the network runs on: the CPU as above, any other device by
/// measure_backend() (kernel_times.h).
MachineRates measure_device_of(const Network& network);

/// The least time that work needs: its arithmetic at the peak rate, and its bytes at the copy rate.
struct Floor {
  double arithmetic_seconds = 0, memory_seconds = 0;
  double seconds() const;  ///< the larger of the two
};
Floor floor_of(const Cost& cost, const MachineRates& rates);

/// Prints the rates, and one sentence for readers of a table that says what its floors and shares
/// mean.
void explain_floors(const MachineRates& rates);

}  // namespace sculpt::bench
