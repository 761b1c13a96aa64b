#include "apps/sculpt_study/end_report.h"

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/study/study_folder.h"

namespace sculpt {
namespace {

void report_failure(const StudyRun& run, JobState state, const StudyFolder& files) {
  if (state == JobState::blocked)
    say_error(fmt::format("run {} was not started, because a run that it needs has not finished",
                          run.name));
  if (state != JobState::failed) return;
  say_error(fmt::format("run {} has failed; the end of {}:", run.name, files.log(run).string()));
  std::string text = last_lines(files.failure(run), kShownLogLines + 1);
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 3)
    text.replace(at, 1, "\n  ");
  err().print("  " + text + "\n");
}

}  // namespace

int report_end(const Study& study, const std::vector<ResolvedRun>& runs, const Schedule& schedule,
               int64_t only, const std::string& go_on) {
  const StudyFolder files(study.folder);
  const std::string all = counted(static_cast<int64_t>(runs.size()), "run");
  say("{} of {} finished in {}\n", schedule.count(JobState::finished), all, study.folder.string());
  int64_t failed = 0, open = 0;
  for (size_t run = 0; run < runs.size(); ++run) {
    if (only != 0 && runs[run].run.number != only) continue;
    const JobState state = schedule[run].state;
    const bool has_failed = state == JobState::failed || state == JobState::blocked;
    failed += has_failed ? 1 : 0;
    open += !has_failed && state != JobState::finished ? 1 : 0;
    report_failure(runs[run].run, state, files);
  }
  if (open > 0) {
    say("{} not finished; go on with {}\n",
        open == 1 ? "1 run has" : fmt::format("{} runs have", open), go_on);
    return kExitInterrupted;
  }
  if (failed == 0) return kExitOk;
  say_error(fmt::format("{} of {} failed; the same command tries again: {}", failed, all, go_on));
  return kExitFailed;
}

}  // namespace sculpt
