#pragma once
// Where the time of a training step goes, and how far each part is from what the machine could do.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Rates of this machine with the present threads, measured on the spot.
struct MachineRates {
  double flops_per_second = 0;  ///< independent fused multiply-adds in registers
  double bytes_per_second = 0;  ///< copying between arrays larger than the caches, read + written
};
MachineRates measure_machine();

/// Prints two tables: by kind of op, and by layer, of steps that run node by node. Floors count
/// each tensor's reads and writes once and assume nothing stays in a cache.
void print_profile(TrainingStep& step, int steps);

}  // namespace sculpt::bench
