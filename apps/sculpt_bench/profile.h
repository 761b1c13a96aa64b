#pragma once
// Shows how the time of a training step divides, and how far each part is from the rates of the
// machine.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Prints two tables of steps that run node by node: one by kind of op, and one by layer. Floors
/// are those of machine_rates.h: of the weights that the masks keep.
void print_profile(TrainingStep& step, int steps);

}  // namespace sculpt::bench
