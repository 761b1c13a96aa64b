#pragma once
// Turns the folder of a study into what its report is made from.

#include <filesystem>

#include "engine/report/study_report.h"
#include "engine/study/study_results.h"

namespace sculpt {

/// Returns the page of a study: its runs by variant, and the figures that the study asks for.
StudyPage study_page(StudyResults results, const ReportContext& context);

}  // namespace sculpt
