#pragma once
// The part of schedule_blocks() that decides which earlier steps of its group a step waits for, and
// how many rows of a block it takes at a time.

#include "engine/autograd/blocks/scheduled_steps.h"

namespace sculpt::schedule {

/// Both functions fill StepGroup::bands and StepGroup::rounds of a group that runs on blocks. The
/// steps of the group are final.
void find_forward_waits(StepGroup& group, const Nodes& nodes, const Values& values);
void find_backward_waits(StepGroup& group, const Nodes& nodes, const Values& values);

}  // namespace sculpt::schedule
