#pragma once
// Says how a study stands when sculpt_study ends.

#include <string>
#include <vector>

#include "apps/sculpt_study/resolve.h"
#include "apps/sculpt_study/schedule.h"

namespace sculpt {

/// The lines of a log that are shown of a failed run.
inline constexpr size_t kShownLogLines = 12;

/// Prints how many runs have finished, and the failures last. Returns the exit code of the program:
/// 0 if all runs have finished, 1 if some have failed, 75 if some can go on. With `only`, the run
/// of this number alone counts. `go_on` is the command that goes on.
int report_end(const Study& study, const std::vector<ResolvedRun>& runs, const Schedule& schedule,
               int64_t only, const std::string& go_on);

}  // namespace sculpt
