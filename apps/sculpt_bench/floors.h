#pragma once
// Counts what the launches of a training step on a GPU must move and compute; no GPU is needed.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Prints a JSON object: "rows", one for each pass of each op of the recorded step, with "pass",
/// "shape", "bytes" and "flops", and "weights", their number. Activations are stored as in
/// options.precision, and convolutions leave batch norm's sums, as on a GPU.
void print_floors(const StepOptions& options);

}  // namespace sculpt::bench
