#pragma once
// Runs the training that a command line asks for, on one rank or on several.

#include "apps/sculpt_run/command_line.h"
#include "engine/dist/communicator.h"

namespace sculpt {

/// Trains, and returns the exit code. All ranks of `processes` call this function. Rank 0 alone
/// locks and writes the run folder and speaks to people. With dist.reduction = exact, each process
/// runs several logical ranks as threads (engine/dist/shards.h).
///
/// Throws UsageError if nothing has been changed, Error if the run failed, and Interrupted if the
/// process was asked to end before anything was computed. The caller ends the other ranks.
int train(const CommandLine& line, Communicator& processes);

}  // namespace sculpt
