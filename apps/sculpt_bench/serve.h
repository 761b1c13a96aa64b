#pragma once
// Runs training steps on request of another process, which alternates them with steps of its own.

#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// Writes a line of JSON to standard output when it is ready, and after each line `run K` of
/// standard input, which asks for K steps. `quit` or the end of the input ends it. Throws Error on
/// any other line.
void serve(TrainingStep& step, int64_t batch);

}  // namespace sculpt::bench
