#pragma once
// The part of schedule_blocks() that decides which activations and gradients live in the threads'
// scratch memory while a group runs.

#include "engine/autograd/blocks/scheduled_steps.h"

namespace sculpt::schedule {

/// Fills StepGroup::scratch and StepGroup::streamed. Also puts a Work::recompute step in front of a
/// group that reads an activation which the forward pass does not materialise.
void find_scratch(BlockSchedule& schedule, const Nodes& nodes, const Values& values);

}  // namespace sculpt::schedule
