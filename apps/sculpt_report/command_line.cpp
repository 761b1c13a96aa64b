#include "apps/sculpt_report/command_line.h"

#include <CLI/CLI.hpp>

#include "apps/common/option_errors.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/help_text.h"
#include "apps/sculpt_run/paths.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {
namespace {

constexpr const char* kFooter = R"(
Examples:
  sculpt_report runs/first                         (one run: runs/first/report.html)
  sculpt_report runs                               (all runs in a folder: runs/report.html)
  sculpt_report runs/lrr-s1 runs/sculpt-s1 --out comparison.html
  sculpt_report runs --format svg --out figures    (each figure as a file of its own)
  sculpt_report runs --format latex --out results.tex
  sculpt_report runs/first --watch                 (live curves in the terminal, until the run ends)
  sculpt_report runs --tensorboard events          (then: tensorboard --logdir events)

A page is one file that needs nothing else, with its numbers as CSV files in a folder beside it. Runs that differ in nothing but their seed are averaged. docs/reports.md describes the pages.

Exit codes:
  0  written
  1  something could not be written
  2  wrong arguments, or no run could be read
)";

}  // namespace

std::optional<int> parse_report_command(int argc, const char* const* argv, ReportCommand& command) {
  CLI::App app{"Shows what runs of sculpt_run have recorded: as a page, figures or numbers.",
               "sculpt_report"};
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "print this text");
  app.add_option("folders", command.inputs, "run folders, or folders with run folders in them")
      ->type_name("FOLDER")
      ->required();
  app.add_option("--out", command.out,
                 "the file, or with svg and csv the folder, to write (default: report.html, "
                 "report.tex, report-figures or report-data, in the given folder, or in the "
                 "present one if several are given)")
      ->type_name("PATH");
  app.add_option("--format", command.format,
                 "html (default), svg (a file for each figure), csv (a file for each figure and "
                 "table) or latex (pgfplots and booktabs)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"html", "svg", "csv", "latex"}));
  CLI::Option* tensorboard =
      app.add_option("--tensorboard", command.tensorboard,
                     "write event files for TensorBoard into DIR, and no report")
          ->type_name("DIR");
  app.add_flag("--watch", command.watch,
               "show the curves of one run in the terminal until the run ends, and write nothing")
      ->excludes(tensorboard);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out().print(help_text(app, {"sculpt_report FOLDER... [OPTIONS]"}, out().width()));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    say_error(option_error_line(app, error, "sculpt_report"));
    return kExitUsage;
  }
  for (std::string& input : command.inputs)
    input = expand_home(input);
  command.out = expand_home(command.out);
  command.tensorboard = expand_home(command.tensorboard);
  return std::nullopt;
}

}  // namespace sculpt
