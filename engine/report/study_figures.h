#pragma once
// Figures and tables of several runs. Only the files of engine/report include this header.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/report/figure.h"
#include "engine/report/study_report.h"

namespace sculpt {

/// The unit in which training FLOPs are shown. A multiple of one dense cycle would compare nothing
/// where the cycles of runs have different lengths.
struct FlopsUnit {
  double factor = 1e-12;
  std::string label = "training FLOPs (10\u00b9\u00b2)";
};
/// Returns the unit in which the largest of these numbers of FLOPs has few digits.
FlopsUnit flops_unit(double largest);

/// Returns accuracy against kept weights, against training FLOPs and against training time. Where
/// all runs have one density, the first one has a row for each series instead.
std::vector<Figure> comparison_figures(const std::vector<ReportedRun>& runs,
                                       const std::vector<RunGroup>& groups);

/// Returns test accuracy and training loss over the epochs, at up to four densities: the mean of
/// each group with its standard deviation, and the single runs behind it.
std::vector<Figure> curve_figures(const std::vector<RunGroup>& groups);

/// Returns one row for each group.
Table group_table(const std::vector<RunGroup>& groups);
/// Returns one row for each run, with links to the pages that lie below the folder `place`; ""
/// makes no links.
Table run_table(const std::vector<ReportedRun>& runs, const std::filesystem::path& place);
/// Returns the keys in which runs differ, with their values.
Table differing_settings(const std::vector<ReportedRun>& runs);
/// Returns the settings that all runs share and that are not the defaults.
Table common_settings(const std::vector<ReportedRun>& runs, const ReportContext& context);

}  // namespace sculpt
