#pragma once
// Everything that is known about a study in a folder: what it compares, its runs, and what they
// have recorded. Reports and claims start here.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/run/run_reader.h"
#include "engine/study/study.h"

namespace sculpt {

enum class StudyRunStatus {
  waiting,  ///< the run has not been started
  running,  ///< a process holds its lock
  stopped,  ///< the run was interrupted or killed, and can go on
  failed,   ///< the run ended with an error, and has not been started again
  finished,
};
/// Returns "waiting", "running", "stopped", "failed" or "finished".
const char* name_of(StudyRunStatus status);

struct StudyRunResult {
  StudyRun run;
  StudyRunStatus status = StudyRunStatus::waiting;
  /// The records of the run. All members are empty while the run waits.
  RunRecords records;
  /// The last lines of the log of a failed run; "" otherwise.
  std::string failure;

  bool finished() const { return status == StudyRunStatus::finished; }
};

struct StudyResults {
  Study study;
  std::vector<StudyRunResult> runs;  ///< in the order of their numbers, without excluded ones

  /// Returns the number of runs with that status.
  int64_t count(StudyRunStatus status) const;
};

/// Returns true if the folder has a study.toml that sculpt_study wrote.
bool is_study_folder(const std::filesystem::path& folder);

/// Reads the folder of a study. Nothing is locked or changed. The keys of older configs get the
/// names that `renamed` gives them. Throws Error naming the folder and the fix if it is not the
/// folder of a study, or if a newer program wrote it. What cannot be read of a run is in its
/// `records.problems`.
StudyResults read_study_results(const std::filesystem::path& folder,
                                ReadRecords what = ReadRecords::all, RenamedKeys renamed = {});

/// Reads one run of the study in `study_folder`. Nothing is locked or changed.
StudyRunResult read_study_run(const StudyRun& run, const std::filesystem::path& study_folder,
                              ReadRecords what = ReadRecords::all, RenamedKeys renamed = {});

/// Returns true if the run has one of the chosen values for every key of the selection. Values are
/// those that the study gives, and for other keys those of the run's config. Numbers compare as
/// numbers: 0.9 is 0.90.
bool matches(const Selection& selection, const StudyRunResult& result);

/// Returns the value of an axis, a setting or a key of the run's config, as text; "" if none has
/// it.
std::string value_of(const StudyRunResult& result, const std::string& key);

/// Returns a number of the run: a metric of its summary, or a key of the config whose value is a
/// number. Not a number if there is none. "density" is 1 - sparsity.
double number_of(const StudyRunResult& result, const std::string& name);

}  // namespace sculpt
