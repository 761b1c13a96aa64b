#include "apps/sculpt_study/indexed_runs.h"

#include <map>

#include "apps/sculpt_run/key_names.h"
#include "engine/core/name_list.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_reader.h"
#include "engine/study/expand.h"
#include "engine/study/run_analyses.h"
#include "engine/study/study_file.h"
#include "engine/study/study_folder.h"
#include "engine/study/study_results.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns a sentence for each analysis that has failed in finished runs of the study.
std::vector<std::string> failed_analyses_of(const Study& study, const std::vector<StudyRun>& runs) {
  std::vector<std::string> sentences;
  const StudyFolder files(study.folder);
  for (const std::string& analysis : study.analyses) {
    std::vector<std::string> failed;
    fs::path failure;  // of the first run
    for (const StudyRun& run : runs) {
      if (!RunFolder(run.folder).finished() ||
          failed_analyses(run.folder, {analysis}, files.failure(run)).empty())
        continue;
      failed.push_back(run.name);
      if (failure.empty()) failure = files.failure(run);
    }
    if (!failed.empty())
      sentences.push_back(fmt::format("{} has failed in {}; {} says why.",
                                      quoted_analysis(analysis), first_names(failed, 1),
                                      failure.string()));
  }
  return sentences;
}

}  // namespace

fs::path index_of(const fs::path& folder) {
  return folder / "index.sqlite";
}

IndexedRuns indexed(const fs::path& folder) {
  const fs::path file = index_of(folder);
  if (!is_study_folder(folder)) {
    if (is_run_folder(folder)) {
      IndexedRuns one;
      one.rows.push_back(row_of(read_run(folder, ReadRecords::results, renamed_keys())));
      return one;
    }
    return indexed_runs(file, find_runs(folder), renamed_keys());
  }
  const Study study = read_study_folder(folder);
  const std::vector<StudyRun> all = expand(study);
  std::vector<fs::path> folders;
  std::map<fs::path, const StudyRun*> by_folder;
  for (const StudyRun& run : all) {
    by_folder[run.folder] = &run;
    if (is_run_folder(run.folder)) folders.push_back(run.folder);
  }
  IndexedRuns runs = indexed_runs(file, folders, renamed_keys());
  std::error_code error;
  for (RunRow& row : runs.rows) {
    const StudyRun& run = *by_folder.at(row.folder);
    row.variant = run.variant;
    const bool stopped = row.status == name_of(RunStatus::stopped);
    if (stopped && fs::exists(StudyFolder(folder).failure(run), error))
      row.status = name_of(StudyRunStatus::failed);
  }
  for (std::string& sentence : failed_analyses_of(study, all))
    runs.problems.push_back(std::move(sentence));
  return runs;
}

}  // namespace sculpt
