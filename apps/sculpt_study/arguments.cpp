#include "apps/sculpt_study/arguments.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "apps/common/option_errors.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/help_text.h"
#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/nearest_name.h"

namespace sculpt {
namespace {

constexpr const char* kStudyFooter = R"(
Other commands (each has --help):
  sculpt_study ls [STUDY|DIR]...   tables of runs: filter, sort, mean and standard deviation over seeds
  sculpt_study diff RUN RUN        what differs between two runs
  sculpt_study index DIR           make the index of runs again

Examples:
  sculpt_study STUDY.toml --dry-run      (every run with its cost; runs nothing)
  sculpt_study STUDY.toml
  sculpt_study runs/STUDY                (goes on with the study in this folder)
  sculpt_study ls runs/STUDY --sort test_accuracy --where 'prune.sparsity>=0.9'

How to write a study file: docs/studies.md.

Exit codes:
  0   all runs have finished
  1   runs have failed; the others have gone on, and the messages come last
  2   wrong arguments, study or config; nothing was run
  75  interrupted (Ctrl-C, SIGTERM, SIGHUP, a closed standard output): the runs have saved their states, and
      the same command goes on
)";

using Texts = std::vector<std::string>;

/// Parses with one CLI::App. Returns an exit code after --help or an error.
std::optional<int> parse(CLI::App& app, int argc, const char* const* argv, const Texts& usages) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out().print(help_text(app, usages, out().width()));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    say_error(option_error_line(app, error, app.get_name()));
    return kExitUsage;
  }
  return std::nullopt;
}

std::optional<int> parse_study(int argc, const char* const* argv, StudyCommand& command) {
  CLI::App app{"Runs a study: a base config and lists of values, expanded to runs.",
               "sculpt_study"};
  app.footer(kStudyFooter);
  app.set_help_flag("-h,--help", "print this text");
  app.add_option("study", command.study,
                 "the study, a TOML file; or the folder of a study, to go on with it")
      ->type_name("STUDY.toml")
      ->required();
  app.add_option("--size", command.choices.size,
                 "one of the sizes of the study file (default: its first)")
      ->type_name("NAME");
  app.add_option_function<Texts>(
         "--set",
         [&command](const Texts& given) {
           command.choices.settings.insert(command.choices.settings.end(), given.begin(),
                                           given.end());
         },
         "set one key of the config for all runs, or the values of an axis with "
         "vary.KEY=[VALUE, ...]; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--out", command.choices.out,
                 "folder of the study (default: what the file says, else runs/<name of the file>)")
      ->type_name("DIR");
  app.add_option("--pool", command.choices.pool,
                 "folder that studies share their runs in; the study's folder has links to it")
      ->type_name("DIR");
  app.add_option(
         "--jobs", command.jobs,
         "runs at a time (default: all threads divided by the threads of a run; on GPUs one "
         "run per GPU)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  app.add_option("--threads", command.threads,
                 "threads of all runs together (default: one per processor). It decides how many "
                 "runs are at work; the threads of a run come from the study (execution.threads, "
                 "default 1), because they decide the last bits of its result")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  CLI::Option* list =
      app.add_flag("--list", command.list, "print the runs with their states, and run nothing");
  app.add_option("--index", command.index, "run only the run of this number, counted from 1")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_flag("--dry-run", command.dry_run,
               "check all runs, print their cost and an estimate of the time, and run nothing")
      ->excludes(list);
  app.add_option("--program", command.program,
                 "the sculpt_run to start (default: the one beside this program)")
      ->type_name("PATH");
  if (const auto code = parse(
          app, argc, argv, {"sculpt_study STUDY.toml [OPTIONS]", "sculpt_study FOLDER [OPTIONS]"}))
    return code;
  for (std::string* path :
       {&command.study, &command.choices.out, &command.choices.pool, &command.program})
    *path = expand_home(*path);
  return std::nullopt;
}

std::optional<int> parse_ls(int argc, const char* const* argv, LsCommand& command) {
  CLI::App app{"Prints runs as a table: mean and standard deviation over the seeds of each group.",
               "sculpt_study ls"};
  app.set_help_flag("-h,--help", "print this text");
  app.add_option("places", command.places,
                 "folders of studies, of runs, or of folders of runs (default: runs)")
      ->type_name("DIR");
  app.add_option("--where", command.where,
                 "only runs with KEY=VALUE, or with !=, <, <=, >, >= in the place of =; may be "
                 "repeated. KEY is a key of the config, a result, status, variant or folder")
      ->type_name("CONDITION")
      ->allow_extra_args(false);
  app.add_option("--sort", command.sort, "sort by this key or result")->type_name("KEY");
  app.add_flag("--descending", command.descending, "sort from the highest to the lowest");
  app.add_option("--by", command.by,
                 "the keys that make a group (default: every key that differs, except the seed)")
      ->type_name("KEY,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--columns", command.columns,
                 "the results and keys to show (default: test_accuracy, sparsity, "
                 "train_flops, seconds)")
      ->type_name("KEY,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_flag("--runs", command.runs, "one line per run");
  return parse(app, argc, argv, {"sculpt_study ls [DIR]... [OPTIONS]"});
}

std::optional<int> parse_diff(int argc, const char* const* argv, DiffCommand& command) {
  CLI::App app{"Prints what differs between two runs: settings, versions and results.",
               "sculpt_study diff"};
  app.set_help_flag("-h,--help", "print this text");
  app.add_option("first", command.first, "a run folder")->type_name("RUN")->required();
  app.add_option("second", command.second, "another run folder")->type_name("RUN")->required();
  return parse(app, argc, argv, {"sculpt_study diff RUN RUN"});
}

std::optional<int> parse_index(int argc, const char* const* argv, IndexCommand& command) {
  CLI::App app{"Makes the index of runs (DIR/index.sqlite) again from the run folders.",
               "sculpt_study index"};
  app.set_help_flag("-h,--help", "print this text");
  app.add_option("folder", command.folder, "the folder of a study, or a folder of runs")
      ->type_name("DIR")
      ->required();
  return parse(app, argc, argv, {"sculpt_study index DIR"});
}

}  // namespace

std::optional<int> parse_arguments(int argc, const char* const* argv, StudyArguments& arguments) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "ls") return parse_ls(argc - 1, argv + 1, arguments.ls.emplace());
  if (first == "diff") return parse_diff(argc - 1, argv + 1, arguments.diff.emplace());
  if (first == "index") return parse_index(argc - 1, argv + 1, arguments.index.emplace());
  std::error_code error;
  const std::string near =
      first.empty() || first.starts_with("-") ? "" : nearest(first, {"ls", "diff", "index"});
  if (!near.empty() && !std::filesystem::exists(first, error)) {
    say_error(fmt::format("there is no command and no study file {}; did you mean sculpt_study {}?",
                          first, near));
    return kExitUsage;
  }
  return parse_study(argc, argv, arguments.study.emplace());
}

}  // namespace sculpt
