#pragma once
// Turns the results of a study (engine/study/study_results.h) into what its report is made from.

#include "engine/report/study_report.h"
#include "engine/study/study_results.h"

namespace sculpt {

/// Returns the page of a study: its runs, labelled by their variants and by the other keys that the
/// study varies; the verdicts about its claims; and the figures that its file asks for. Results
/// have all records of the runs.
StudyPage study_page(const StudyResults& results);

}  // namespace sculpt
