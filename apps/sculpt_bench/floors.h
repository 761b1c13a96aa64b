#pragma once
// Counts the bytes that the launches of a training step on a GPU must move, and the FLOPs that they
// must compute. Needs no GPU.

#include <string>

#include "apps/sculpt_bench/node_cost.h"
#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Returns how a GPU stores activations in a precision ("fp32", "tf32" or "bf16"), and that its
/// convolutions leave batch norm's sums.
Storage gpu_storage(const std::string& precision);

/// Prints a JSON object with two members: "weights", the number of weights, and "rows". There is a
/// row for each pass of each op of the recorded step, with "pass", "shape", "bytes" and "flops".
/// Activations are stored as in options.execution.precision, and convolutions leave batch norm's
/// sums, as on a GPU.
void print_floors(const StepOptions& options);

}  // namespace sculpt::bench
