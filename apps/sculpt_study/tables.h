#pragma once
// The commands ls, diff and index.

#include "apps/sculpt_study/arguments.h"

namespace sculpt {

/// Prints runs, or groups of runs. Throws UsageError.
void list_runs(const LsCommand& command);

/// Prints what differs between two runs.
void print_difference(const DiffCommand& command);

/// Makes the index of a folder again, and says what it holds.
void make_index(const IndexCommand& command);

}  // namespace sculpt
