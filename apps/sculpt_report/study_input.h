#pragma once
// Turns the folder of a study into what its report is made from.

#include <filesystem>
#include <map>
#include <string>

#include "engine/report/study_report.h"
#include "engine/study/study_results.h"

namespace sculpt {

/// A study with all that can be read of its runs.
struct ReadStudy {
  StudyResults results;
  /// Name of a run that cannot be read, such as one of a newer program -> the reason. In `results`,
  /// the run has no records.
  std::map<std::string, std::string> left_out;
  /// A whole sentence for each analysis that the study asks for and that finished runs lack.
  std::vector<std::string> missing_analyses;
};

/// Reads the folder of a study. Throws Error if the study itself cannot be read.
ReadStudy read_study(const std::filesystem::path& folder, RenamedKeys renamed);

/// Returns the page of a study: its runs by variant, and the figures that the study asks for.
StudyPage study_page(ReadStudy read, const ReportContext& context);

}  // namespace sculpt
