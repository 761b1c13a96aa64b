#pragma once
// Writes the page of a study when its runs have ended.

#include "engine/study/study.h"

namespace sculpt {

/// Starts the sculpt_report beside this program, which writes report.html into the folder of the
/// study, and says where the page is. A page that cannot be written is a warning.
void write_study_report(const Study& study);

}  // namespace sculpt
