#include "engine/study/study_results.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/study/expand.h"
#include "engine/study/selection.h"
#include "engine/study/study_file.h"
#include "engine/study/study_folder.h"

namespace sculpt {

namespace fs = std::filesystem;

const char* name_of(StudyRunStatus status) {
  switch (status) {
    case StudyRunStatus::waiting:
      return "waiting";
    case StudyRunStatus::running:
      return "running";
    case StudyRunStatus::stopped:
      return "stopped";
    case StudyRunStatus::failed:
      return "failed";
    case StudyRunStatus::finished:
      return "finished";
  }
  return "";
}

int64_t StudyResults::count(StudyRunStatus status) const {
  return std::ranges::count(runs, status, &StudyRunResult::status);
}

bool is_study_folder(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kStudyFile, error);
}

StudyRunResult read_study_run(const StudyRun& run, const fs::path& study_folder, ReadRecords what,
                              RenamedKeys renamed) {
  StudyRunResult result;
  result.run = run;
  if (is_run_folder(run.folder)) {
    result.records = read_run(run.folder, what, renamed);
    const RunStatus status = result.records.status;
    result.status = status == RunStatus::finished  ? StudyRunStatus::finished
                    : status == RunStatus::running ? StudyRunStatus::running
                                                   : StudyRunStatus::stopped;
  }
  // A process that has just been started has the lock before it has written a record.
  if (result.status == StudyRunStatus::waiting && is_locked(run.folder))
    result.status = StudyRunStatus::running;
  const fs::path failure = StudyFolder(study_folder).failure(run);
  std::error_code error;
  const bool may_have_failed =
      result.status == StudyRunStatus::waiting || result.status == StudyRunStatus::stopped;
  if (may_have_failed && fs::exists(failure, error)) {
    result.status = StudyRunStatus::failed;
    result.failure = last_lines(failure, 20);
  }
  return result;
}

StudyResults read_study_results(const fs::path& folder, ReadRecords what, RenamedKeys renamed) {
  StudyResults results;
  results.study = read_study_folder(folder);
  for (const StudyRun& run : expand(results.study))
    results.runs.push_back(read_study_run(run, folder, what, renamed));
  return results;
}

std::string value_of(const StudyRunResult& result, const std::string& key) {
  const std::string value = result.run.value(key);
  return value.empty() ? result.records.setting(key) : value;
}

bool matches(const Selection& selection, const StudyRunResult& result) {
  return std::ranges::all_of(selection.values, [&](const auto& chosen) {
    const std::string value = value_of(result, chosen.first);
    return !value.empty() && allows(selection, chosen.first, value);
  });
}

double number_of(const StudyRunResult& result, const std::string& name) {
  const double measured =
      name == "density" ? 1 - result.records.result("sparsity") : result.records.result(name);
  return std::isnan(measured) ? number_in(value_of(result, name)) : measured;
}

}  // namespace sculpt
