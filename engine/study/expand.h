#pragma once
// Expands a study to its runs.

#include <string>
#include <vector>

#include "engine/study/study.h"

namespace sculpt {

/// Returns the runs of a study in a fixed order: all combinations of the values of the axes, the
/// first axis changing slowest, without the excluded ones. Settings of the study come first, then
/// those of the variant, then the values of the axes.
///
/// A variant that sets the key of an axis has its own value instead of those of the axis, so it is
/// not multiplied by them.
///
/// A text in a setting may name the folder of another run: `{run:lrr}` is the run of variant lrr
/// with the same values of all other axes. Throws Error if there is no such run, if runs need each
/// other in a circle, if no run is left, or if there are more than 100,000 combinations.
std::vector<StudyRun> expand(const Study& study);

/// Returns the exclusions of the study that leave out no combination. Throws Error if there are
/// more than 100,000 combinations.
std::vector<Selection> idle_exclusions(const Study& study);

}  // namespace sculpt
