#pragma once
// The subcommands of sculpt_analyze: the options of each, and what each one runs.

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

#include "apps/sculpt_analyze/session.h"

namespace sculpt::analyze {

struct Command {
  CLI::App* parser;           ///< converts to true if the command line names this subcommand
  std::function<void()> run;  ///< to be called after parsing
};

/// Adds the options that all subcommands share, and lets them stand after the subcommand's name,
/// too. From now on the command line must name one subcommand. Parsing writes their values to
/// `shared`.
void add_shared_options(CLI::App& app, SharedOptions& shared);

/// Adds every subcommand with its own options to `app`. The parser writes the options to what the
/// commands own, so the commands must outlive parsing. The commands read `shared` when they run.
[[nodiscard]] std::vector<Command> add_commands(CLI::App& app, SharedOptions& shared);

}  // namespace sculpt::analyze
