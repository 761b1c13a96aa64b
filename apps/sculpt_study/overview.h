#pragma once
// Prints the runs of a study: --list and --dry-run.

#include <vector>

#include "apps/sculpt_study/check.h"
#include "apps/sculpt_study/resolve.h"

namespace sculpt {

/// Prints number, name, state and settings of each run.
void print_list(const Study& study, const std::vector<ResolvedRun>& runs);

/// Prints the cost of each run and of the study. `jobs` runs are at work at a time.
void print_costs(const Study& study, const std::vector<ResolvedRun>& runs, const StudyCheck& check,
                 int jobs);

/// Returns the time after which the last of the runs ends if `jobs` runs are at work at a time, and
/// each starts as soon as an earlier one has ended, in their order.
double makespan(const std::vector<double>& seconds, int jobs);

}  // namespace sculpt
