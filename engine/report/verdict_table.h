#pragma once
// Shows the verdicts about the claims of a study (engine/study/claims.h).

#include <string>
#include <vector>

#include "engine/report/figure.h"
#include "engine/study/claims.h"

namespace sculpt {

/// Returns one row per claim, and below it one row for each combination of values that the claim
/// compares, if there are several. Accuracies and their differences are in percentage points.
Table verdict_table(const std::vector<ClaimResult>& claims);

/// Returns a whole sentence about one claim: its verdict, the difference, the interval and the
/// number of seeds.
std::string verdict_sentence(const ClaimResult& claim);

}  // namespace sculpt
