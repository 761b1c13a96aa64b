// sculpt_report shows what runs have recorded, as pages, figures, numbers or live curves.

#include <algorithm>
#include <exception>
#include <filesystem>

#include "apps/common/failure_text.h"
#include "apps/sculpt_report/command_line.h"
#include "apps/sculpt_report/input.h"
#include "apps/sculpt_report/outputs.h"
#include "apps/sculpt_report/study_input.h"
#include "apps/sculpt_report/watch.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/key_names.h"
#include "apps/sculpt_run/report_context.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/core/shell_word.h"
#include "engine/report/study_report.h"

namespace sculpt {
namespace {

std::string command_text(int argc, char** argv) {
  std::string text = "sculpt_report";
  for (int i = 1; i < argc; ++i)
    text += " " + shell_word(argv[i]);
  return text;
}

std::string title_of(const ReportCommand& command, size_t runs) {
  if (command.inputs.size() > 1) return counted(static_cast<long long>(runs), "run");
  const auto path = std::filesystem::absolute(command.inputs[0]).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

Report report_of(const ReportCommand& command, ReadRuns read, const std::string& text) {
  const ReportContext context = report_context("sculpt_report");
  if (read.runs.size() == 1) {
    RunRecords& run = read.runs[0];
    run.problems.insert(run.problems.end(), read.problems.begin(), read.problems.end());
    const std::vector<Analysis> analyses = read_analyses(run);
    return run_report(run, analyses, context);
  }
  StudyPage page;
  page.title = title_of(command, read.runs.size());
  page.runs = labelled_runs(std::move(read.runs), context);
  page.commands = {{"Writes this page again", text}};
  page.place = folder_of_page(command);
  Report report = study_report(std::move(page), context);
  report.warnings.insert(report.warnings.end(), read.problems.begin(), read.problems.end());
  return report;
}

/// Reads the runs. Whatever is wrong with them is an error of the arguments.
ReadRuns read_inputs(const ReportCommand& command) try {
  return read_runs(run_folders(command.inputs));
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Returns true if the command names the folder of a study and nothing else.
bool is_study(const ReportCommand& command) {
  return command.inputs.size() == 1 && is_study_folder(command.inputs[0]);
}

ReadStudy study_of(const std::string& folder) try {
  return read_study(folder, renamed_keys());
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Writes the report, and repeats its warnings on the terminal.
int finish(const ReportCommand& command, const Report& report) {
  write_report(command, report);
  for (const std::string& warning : report.warnings)
    warn(warning);
  return kExitOk;
}

int run(int argc, char** argv) {
  ReportCommand command;
  if (const auto code = parse_report_command(argc, argv, command)) return *code;
  if (command.watch) return watch(command.inputs);
  if (is_study(command) && command.tensorboard.empty()) {
    const ReportContext context = report_context("sculpt_report");
    StudyPage page = study_page(study_of(command.inputs[0]), context);
    page.place = folder_of_page(command);
    return finish(command, study_report(std::move(page), context));
  }
  ReadRuns read = read_inputs(command);
  if (!command.tensorboard.empty()) {
    for (const std::string& problem : read.problems)
      warn(problem);
    write_event_files(command.tensorboard, read.runs);
    return kExitOk;
  }
  return finish(command, report_of(command, std::move(read), command_text(argc, argv)));
}

}  // namespace
}  // namespace sculpt

int main(int argc, char** argv) {
  try {
    return sculpt::run(argc, argv);
  } catch (const std::exception& error) {
    sculpt::say_error(sculpt::failure_text(error));
    return dynamic_cast<const sculpt::UsageError*>(&error) != nullptr ? sculpt::kExitUsage
                                                                      : sculpt::kExitFailed;
  }
}
