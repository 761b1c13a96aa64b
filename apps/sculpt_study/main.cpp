// sculpt_study runs studies: a base config and lists of values, expanded to runs, which it starts,
// resumes and compares.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <unistd.h>

#include "apps/common/failure_text.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/exit_code.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/processors.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/analyses.h"
#include "apps/sculpt_study/arguments.h"
#include "apps/sculpt_study/check.h"
#include "apps/sculpt_study/overview.h"
#include "apps/sculpt_study/prepare.h"
#include "apps/sculpt_study/run_pages.h"
#include "apps/sculpt_study/runner.h"
#include "apps/sculpt_study/study_report.h"
#include "apps/sculpt_study/tables.h"
#include "engine/core/shell_word.h"
#include "engine/study/claims.h"
#include "engine/study/expand.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

/// Returns the sculpt_run to start.
std::string program_of(const StudyCommand& command) {
  const fs::path path = command.program.empty()
                            ? fs::read_symlink("/proc/self/exe").parent_path() / "sculpt_run"
                            : fs::path(command.program);
  if (access(path.c_str(), X_OK) != 0)
    throw UsageError(
        fmt::format("there is no program {}; name sculpt_run with --program", path.string()));
  return path.string();
}

/// Returns the sculpt_analyze beside this program, if the study analyses its runs.
std::string analyzer_of(const Study& study) {
  if (study.analyses.empty()) return "";
  const fs::path path = fs::read_symlink("/proc/self/exe").parent_path() / "sculpt_analyze";
  if (access(path.c_str(), X_OK) != 0)
    throw UsageError(fmt::format(
        "there is no program {}, with which the study analyses its runs; build it, or take "
        "`analyze` out of the study",
        path.string()));
  return path.string();
}

Study study_of(const StudyCommand& command) try {
  std::error_code error;
  if (!fs::is_directory(command.study, error))
    return read_study_file(command.study, command.choices, config_keys_of_studies());
  const StudyChoices& choices = command.choices;
  if (!choices.size.empty() || !choices.settings.empty() || !choices.out.empty() ||
      !choices.pool.empty())
    fail(
        "{} is the folder of a study, whose choices are made; give the study file to choose "
        "--size, --set, --out or --pool",
        command.study);
  return read_study_folder(command.study);
} catch (const Error& error) {
  throw UsageError(error.what());
}

std::vector<ResolvedRun> resolved_runs(const Study& study) try {
  return resolve(study);
} catch (const Error& error) {
  throw UsageError(error.what());
}

StudyCheck checked(const std::vector<ResolvedRun>& runs, bool timing) try {
  StudyCheck check = check_runs(runs, timing);
  for (const std::string& text : check.warnings)
    warn(text);
  return check;
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Returns the GPUs that runs get in turn: those of CUDA_VISIBLE_DEVICES, else all by number.
std::vector<std::string> gpu_names(int gpus) {
  std::vector<std::string> names;
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::istringstream list(visible == nullptr ? "" : visible);
  for (std::string name; std::getline(list, name, ',');)
    names.push_back(name);
  if (names.empty())
    for (int gpu = 0; gpu < gpus; ++gpu)
      names.push_back(std::to_string(gpu));
  names.resize(std::min(names.size(), static_cast<size_t>(std::max(gpus, 0))));
  return names;
}

/// Returns how many runs are at work at a time. The networks of studies are mostly too small for
/// several threads to pay: two runs with a thread each are done sooner than one run after the other
/// with two threads each. So all threads are shared out, and a run gets those that its config says.
int jobs_of(const StudyCommand& command, const std::vector<ResolvedRun>& runs, int gpus) {
  if (command.jobs > 0) return command.jobs;
  if (gpus > 0) return gpus;
  const int processors = std::min(granted_processors(),
                                  std::max(1, static_cast<int>(processors_of_affinity().size())));
  const int threads = command.threads > 0 ? command.threads : processors;
  int64_t of_run = 1;
  for (const ResolvedRun& run : runs)
    of_run = std::max(of_run, run.threads == 0 ? processors : run.threads);
  return std::max(1, threads / static_cast<int>(of_run));
}

/// Returns the runs that have not finished: all of them, or the one that --index names.
std::vector<ResolvedRun> unfinished(const Study& study, const std::vector<ResolvedRun>& runs,
                                    int64_t only) {
  std::vector<ResolvedRun> left;
  for (const ResolvedRun& run : runs)
    if ((only == 0 || run.run.number == only) && !status_of(study, run).finished())
      left.push_back(run);
  return left;
}

void require_index(const StudyCommand& command, const Study& study,
                   const std::vector<ResolvedRun>& runs) {
  if (command.index == 0) return;
  if (command.index > static_cast<int64_t>(runs.size()))
    throw UsageError(fmt::format("--index {}: the study has runs 1 to {}; --list prints them",
                                 command.index, runs.size()));
  for (const int64_t number : runs[static_cast<size_t>(command.index - 1)].run.needs) {
    const ResolvedRun& other = runs[static_cast<size_t>(number - 1)];
    if (!status_of(study, other).finished())
      throw UsageError(fmt::format("run {} loads from run {}, which has not finished; run {} first",
                                   command.index, other.run.name, number));
  }
}

/// Throws UsageError if a claim cannot be judged whatever its runs will find.
void require_claims_can_be_judged(const Study& study, const std::vector<ResolvedRun>& runs) {
  StudyResults results;
  results.study = study;
  for (const ResolvedRun& run : runs) {
    StudyRunResult result;
    result.run = run.run;
    results.runs.push_back(std::move(result));
  }
  for (const ClaimResult& claim : judge_claims(results))
    if (!claim.problem.empty())
      throw UsageError(fmt::format("claim {} cannot be judged: {}", claim.claim.id, claim.problem));
}

/// Warns of exclusions that leave out no run.
void warn_of_idle_exclusions(const Study& study) {
  for (const Selection& excluded : idle_exclusions(study))
    warn(fmt::format(
        "{}: this [[exclude]] leaves out no run, because no run has its values together; the "
        "values of a base config are not compared",
        excluded.source));
}

int run(const StudyCommand& command, const std::string& words) {
  const Study study = study_of(command);
  const std::vector<ResolvedRun> runs = resolved_runs(study);
  require_claims_can_be_judged(study, runs);
  require_analyses(study, runs);
  warn_of_idle_exclusions(study);
  if (command.list) {
    print_list(study, runs);
    return kExitOk;
  }
  if (command.dry_run) {
    const StudyCheck check = checked(runs, /*timing=*/true);
    print_costs(study, runs, check, jobs_of(command, runs, check.gpus));
    return kExitOk;
  }
  require_index(command, study, runs);
  RunnerOptions options;
  options.program = program_of(command);
  options.analyzer = analyzer_of(study);
  options.only = command.index;
  options.go_on = words;
  const StudyCheck check = checked(unfinished(study, runs, command.index), /*timing=*/false);
  prepare_folder(study, runs);
  for (const ResolvedRun& one : runs)
    if (command.index == 0 || one.run.number == command.index) refresh_page(study, one);
  options.jobs = jobs_of(command, runs, check.gpus);
  if (check.gpus > 1 && options.jobs > 1) options.gpus = gpu_names(check.gpus);
  catch_interrupts(/*silent=*/true);
  const int code = run_study(study, runs, options);
  // The elements of a job array would write the page at the same time.
  if (code != kExitInterrupted && command.index == 0) write_study_report(study);
  return code;
}

int main_checked(int argc, char** argv) {
  StudyArguments arguments;
  if (const auto code = parse_arguments(argc, argv, arguments)) return exit_code(*code, nullptr);
  if (arguments.study) {
    std::string words;
    for (int i = 0; i < argc; ++i)
      words += (i == 0 ? "" : " ") + shell_word(argv[i]);
    const bool only_prints = arguments.study->list || arguments.study->dry_run;
    return exit_code(run(*arguments.study, words),
                     only_prints ? nullptr : "the records of the runs are in their folders");
  }
  if (arguments.ls) list_runs(*arguments.ls);
  if (arguments.diff) print_difference(*arguments.diff);
  if (arguments.index) make_index(*arguments.index);
  return exit_code(kExitOk, nullptr);
}

}  // namespace
}  // namespace sculpt

int main(int argc, char** argv) {
  try {
    return sculpt::main_checked(argc, argv);
  } catch (const std::exception& error) {
    sculpt::say_error(sculpt::failure_text(error));
    const bool usage = dynamic_cast<const sculpt::UsageError*>(&error) != nullptr;
    return usage ? sculpt::kExitUsage : sculpt::kExitFailed;
  }
}
