// sculpt_analyze finds out things about trained networks: how they are connected, how the loss is
// curved around them, what changed from cycle to cycle. It also exports and evaluates checkpoints.
// docs/analyses.md has the conventions.

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "apps/common/failure_text.h"
#include "apps/common/option_errors.h"
#include "apps/sculpt_analyze/commands.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/phase_display.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/shell_word.h"

namespace sculpt::analyze {
namespace {

std::string command_text(int argc, char** argv) {
  std::string text = "sculpt_analyze";
  for (int i = 1; i < argc; ++i)
    text += " " + shell_word(argv[i]);
  return text;
}

int run(int argc, char** argv) {
  CLI::App app{"Analyses networks that sculpt_run has trained.", "sculpt_analyze"};
  SharedOptions shared;
  shared.command = command_text(argc, argv);
  add_shared_options(app, shared);
  const std::vector<Command> commands = add_commands(app, shared);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // the user asked for --help
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    say_error(option_error_line(app, error, "sculpt_analyze"));
    return kExitUsage;
  }
  catch_interrupts();
  const PhaseDisplay display;
  for (const Command& command : commands)
    if (*command.parser) command.run();
  return kExitOk;
}

}  // namespace
}  // namespace sculpt::analyze

int main(int argc, char** argv) {
  try {
    return sculpt::analyze::run(argc, argv);
  } catch (const sculpt::Interrupted&) {
    sculpt::say("interrupted; analyses that were not finished have written nothing\n");
    return sculpt::kExitInterrupted;
  } catch (const std::exception& error) {
    sculpt::say_error(sculpt::failure_text(error));
    const bool usage = dynamic_cast<const sculpt::UsageError*>(&error) != nullptr;
    return usage ? sculpt::kExitUsage : sculpt::kExitFailed;
  }
}
