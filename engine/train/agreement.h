#pragma once
// Makes the ranks of a run agree: they start from the same state, stop together, and find out if
// they no longer have the same network.

#include <string>

#include "engine/dist/communicator.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/run/run_state.h"

namespace sculpt {

/// Copies the weights, the optimizer's arrays, the running statistics and the mask of rank 0 to all
/// other ranks. The arena becomes dense.
void share_parameters(Communicator& ranks, ParameterArena& parameters);

/// Copies the state of rank 0 to all other ranks.
void share_state(Communicator& ranks, RunState& state);

/// Returns true if `flag` is true on at least one rank.
bool any_rank(Communicator& ranks, bool flag);

/// Throws Error that names the first tensor and the ranks if weights, the optimizer's arrays,
/// running statistics or the mask are not the same bits on all ranks. `when` completes the sentence
/// "the ranks differ ...", for example "after epoch 3". The arena becomes dense.
void require_same_parameters(Communicator& ranks, ParameterArena& parameters,
                             const std::string& when);

}  // namespace sculpt
