#pragma once
// The result of several runs in a few sentences. Only the files of engine/report include this
// header.

#include <string>
#include <vector>

#include "engine/report/study_report.h"

namespace sculpt {

/// Returns which series has the highest mean accuracy at each density that several series have,
/// from the densest to the sparsest. A second series counts as close if the means differ by no more
/// than the larger one of both standard deviations. Up to three densities have a sentence each,
/// with the numbers; for more of them, one sentence names the densities of each best series.
/// Returns "" if no density has several series.
std::string headline_of(const std::vector<RunGroup>& groups);

}  // namespace sculpt
