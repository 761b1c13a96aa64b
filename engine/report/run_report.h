#pragma once
// Makes the report of one run from what it has recorded.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/report/analysis_file.h"
#include "engine/report/report.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// The things that a report needs besides records.
struct ReportContext {
  /// The config without any change: "section.key" -> value, as in RunRecords::config.
  std::map<std::string, std::string> defaults;
  /// Keys that do not change what a run computes.
  std::set<std::string> without_effect;
  std::string written_by;      ///< "sculpt_report 0.1.0"
  int64_t planned_epochs = 0;  ///< of a run that has not finished; 0 if unknown
};

/// Reads the analyses in the folder of a run. Files that cannot be read are named in
/// run.unread_analyses.
std::vector<Analysis> read_analyses(RunRecords& run);

/// Makes the report of a run, finished or not. `run` has all of its records.
Report run_report(const RunRecords& run, const std::vector<Analysis>& analyses,
                  const ReportContext& context);

}  // namespace sculpt
