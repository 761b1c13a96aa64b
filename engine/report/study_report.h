#pragma once
// Makes the report of several runs: which settings lead to which accuracy, at which cost, with
// means and standard deviations over the runs that differ in nothing but their seed.

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "engine/report/report.h"
#include "engine/report/run_report.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// A run within a comparison.
struct ReportedRun {
  std::string name;    ///< of its folder
  std::string series;  ///< label of what it belongs to, such as its method: "LRR"
  RunRecords records;
  bool failed = false;
  std::string failure;  ///< the last lines of the log of a failed run; may be empty
  /// The run that counts in the place of this one, which has the same settings and the same seed;
  /// "" if this run counts. See mark_repeats().
  std::string repeats = {};
};

/// The input of a report of several runs.
struct StudyPage {
  std::string title;
  std::vector<std::string> paragraphs;  ///< below the title: what the study asks
  std::vector<ReportedRun> runs;        ///< in the order of the study
  std::vector<std::string> waiting;     ///< names of runs that have not been started
  /// A whole sentence for each run that cannot be read, with its name and the reason.
  std::vector<std::string> left_out;
  /// A whole sentence for each analysis that the study asks for and that finished runs lack.
  std::vector<std::string> analyses;
  std::vector<Table> verdicts;                 ///< a row for each claim
  std::vector<std::string> verdict_sentences;  ///< one for each claim
  /// Figures of the study's own, which stand before those that every report has.
  std::vector<Figure> figures;
  std::vector<ShownCommand> commands;  ///< such as the one that repeats the study
  /// The folder that the page is going to lie in; "" if it is not known. The names of runs are
  /// links to the pages of runs that lie in folders below it.
  std::filesystem::path place = {};
};

/// Labels runs by what distinguishes them: the method, and other settings in which runs of one
/// method and one sparsity differ. Seeds and sparsities are no part of labels, and neither are keys
/// that have no effect. Runs keep their order. `first` has the beginning of each run's label, such
/// as the variant of a study, or is empty.
std::vector<ReportedRun> labelled_runs(std::vector<RunRecords> runs, const ReportContext& context,
                                       std::vector<std::string> first = {});

/// Marks finished runs that repeat another one of their series: runs with the same settings and the
/// same seed, such as a run and its repeat in another folder. Returns a sentence about them; "" if
/// there are none.
std::string mark_repeats(std::vector<ReportedRun>& runs, const ReportContext& context);

/// The finished runs of one series and one density.
struct RunGroup {
  std::string series;
  size_t series_index = 0;
  double density = NAN;  ///< kept / prunable weights
  std::vector<const ReportedRun*> runs;
};
/// Returns the groups by series, in the order of the first run of each, and from the densest to the
/// sparsest. Densities that agree to four digits are one density. Marked repeats are left out.
std::vector<RunGroup> group_runs(const std::vector<ReportedRun>& runs);

/// Makes the report. Runs have all of their records; those without epochs have no curves.
Report study_report(StudyPage page, const ReportContext& context);

}  // namespace sculpt
