#pragma once
// Shows how the time of a training step divides, and how far each part is from the rates of the
// machine.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// The rates of this machine with the present number of threads, measured now.
struct MachineRates {
  double flops_per_second = 0;  ///< independent fused multiply-adds in registers
  double bytes_per_second = 0;  ///< copying between arrays larger than the caches, read + written
};
MachineRates measure_machine();

/// Prints two tables of steps that run node by node: one by kind of op, and one by layer. Floors
/// count each tensor's reads and writes once and assume that nothing stays in a cache.
void print_profile(TrainingStep& step, int steps);

}  // namespace sculpt::bench
