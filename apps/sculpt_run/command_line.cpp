#include "apps/sculpt_run/command_line.h"

#include <CLI/CLI.hpp>

#include "apps/common/option_errors.h"
#include "apps/sculpt_run/help_text.h"
#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

constexpr const char* kFooter = R"(
Examples:
  sculpt_run configs/quickstart.toml
  sculpt_run configs/cifar10/sculpt.toml --set data.root=datasets/cifar10 --set seed=2
  sculpt_run configs/cifar10/imp.toml --plan
  sculpt_run configs/quickstart.toml --out runs/first
  sculpt_run --resume runs/first
  sculpt_run --ranks 4 configs/quickstart.toml           (four processes; mpirun -n 4 sculpt_run ... also works)
  sculpt_run --resume runs/cyclic --set cycles.count=8   (more cycles of a finished run of method cyclic)

Every key of a config: --help-config, or docs/config.md. What a run leaves behind: docs/run-folder.md.

Exit codes:
  0   finished
  1   the run failed; the last good checkpoint is intact
  2   wrong arguments, config, data or run folder (in use, damaged, incomplete); nothing was changed
  75  interrupted (Ctrl-C, SIGTERM, SIGHUP, SIGUSR2, or a closed pipe): state saved, go on with --resume. A second Ctrl-C, at least two seconds later, ends the program at once
  76  a rank of several was killed, stopped, cut off or hanging, and all ranks have ended; the last good checkpoint is intact

Environment: SCULPT_CPU_ISA=avx512|avx2|portable chooses the instruction set; SCULPT_CUDA_SYNC=1 waits for every GPU kernel, so that an error names the kernel that made it; NO_COLOR=1 turns colours off; COLUMNS sets the width where the output is not a terminal; SCULPT_RENDEZVOUS=tcp:HOST:PORT or file:FOLDER lets ranks that srun or others start find each other without MPI (docs/cluster.md).
)";

constexpr const char* kUsage[] = {"sculpt_run CONFIG.toml [OPTIONS]",
                                  "sculpt_run --resume RUN_FOLDER [OPTIONS]"};

/// Returns the message for a missing positional argument.
std::string missing_config(const CommandLine& line) {
  const char* missing = line.resume    ? "the run folder to go on in"
                        : line.restart ? "the run folder to start over in"
                                       : "the config";
  return fmt::format("{} is missing; write {}, or {}; run sculpt_run --help", missing, kUsage[0],
                     kUsage[1]);
}

}  // namespace

std::optional<int> parse_command_line(int argc, const char* const* argv, CommandLine& line) {
  CLI::App app{"Trains a sparse neural network as a config describes.", "sculpt_run"};
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "print this text");
  app.add_option(
         "config", line.config,
         "the config, a TOML file; with --resume or --restart also a run folder, which holds its "
         "config")
      ->type_name("CONFIG.toml");
  app.add_option_function<std::vector<std::string>>(
         "--set",
         [&line](const std::vector<std::string>& assignments) {
           line.settings.insert(line.settings.end(), assignments.begin(), assignments.end());
         },
         "set one key of the config; may be repeated, for another key each time")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--out", line.out,
                 "run folder (default: one in runs/ that is named after the config, the method, "
                 "what the command changes, and the seed)")
      ->type_name("DIR");
  CLI::Option* resume = app.add_flag(
      "--resume", line.resume,
      "go on with the run in an existing folder; starts a run if the folder is missing or empty");
  app.add_flag("--restart", line.restart,
               "start over in an existing run folder; the old run is kept in a folder inside it")
      ->excludes(resume);
  CLI::Option* ranks =
      app.add_option(
             "--ranks", line.ranks,
             "run on N processes of this machine; if a launcher (mpirun, srun) has started this "
             "program, check that it has started N")
          ->type_name("N")
          ->check(CLI::Range(1, 4096));
  app.add_option("--ranks-by", line.ranks_by,
                 "what starts and connects the N processes: mpi (mpirun) or sockets, which need "
                 "nothing (default: mpi where it is installed)")
      ->type_name("NAME")
      ->needs(ranks)
      ->check(CLI::IsMember({"mpi", "sockets"}));
  app.add_flag("--no-report", line.no_report,
               "do not write the page report.html into the run folder");
  app.add_flag("--plan", line.plan, "print the plan with its cost, and run nothing");
  app.add_flag("--describe", line.describe, "print the network's layers, and run nothing");
  const auto add_setting = [&](const char* option, const char* key, const char* value,
                               const std::string& help) {
    app.add_option_function<std::string>(
           option,
           [&line, key, option](const std::string& given) {
             line.settings.emplace_back(key, option, given);
           },
           fmt::format("the same as --set {}={}{}", key, value, help))
        ->type_name(value);
  };
  add_setting("--threads", "execution.threads", "N", " (default: 0, which is one per processor)");
  add_setting("--device", "execution.device", "NAME",
              ": auto (default: a usable GPU, else the CPU), cpu, cuda or cuda:N");
  add_setting("--conv", "execution.conv", "NAME", ": native (default), cudnn or auto");
  add_setting("--sparse", "execution.sparse", "NAME", ": auto (default), tuned, on or off");
  app.add_option("--profile", line.profile,
                 "let a profiler record these steps of a run on a GPU, counted from 0 "
                 "(docs/profiling.md)")
      ->type_name("FIRST:LAST");
  app.add_option("--help-config", line.help_config,
                 "print every key of a config, as text (default) or markdown")
      ->type_name("[FORMAT]")
      ->expected(0, 1)
      ->default_str("text")
      ->check(CLI::IsMember({"text", "markdown"}));
  app.add_flag("--version", line.version,
               "print the version, the compiler and the backends of this program");
  try {
    app.parse(argc, argv);
    if (app.count("--help-config") > 0 && line.help_config.empty()) line.help_config = "text";
    if (line.help_config.empty() && !line.version && line.config.empty()) {
      say_error(missing_config(line));
      return kExitUsage;
    }
  } catch (const CLI::CallForHelp&) {
    out().print(help_text(app, {kUsage[0], kUsage[1]}, out().width()));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    say_error(option_error_line(app, error, "sculpt_run"));
    return kExitUsage;
  }
  line.config = expand_home(line.config);
  line.out = expand_home(line.out);
  return std::nullopt;
}

}  // namespace sculpt
