#pragma once
// Makes the folder of a study, and refuses one that holds other runs.

#include <vector>

#include "apps/sculpt_study/resolve.h"
#include "engine/study/study_results.h"

namespace sculpt {

/// Writes study.toml, the base configs and the config of each run, and makes the links into the
/// pool. If the study has changed since the folder was made, finished runs keep their results:
/// their folders get the names that the study gives them now. Throws UsageError naming the run and
/// the fix if a folder holds a run with other settings.
void prepare_folder(const Study& study, const std::vector<ResolvedRun>& runs);

/// Reads the status of a run in its real folder.
StudyRunResult status_of(const Study& study, const ResolvedRun& run);

}  // namespace sculpt
