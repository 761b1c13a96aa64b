#pragma once
// The subcommands of sculpt_bench: the options of each, and what each one runs.

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

#include "apps/sculpt_bench/masks.h"
#include "apps/sculpt_bench/training_step.h"

namespace sculpt::bench {

/// The values of the options that all subcommands share.
struct SharedOptions {
  StepOptions step;
  MaskOptions masks;
  int threads = 0;  ///< 0: all cores
};

/// Adds the options that all subcommands share. Parsing writes their values to `shared`.
void add_shared_options(CLI::App& app, SharedOptions& shared);

struct Command {
  CLI::App* parser;           ///< converts to true if the command line names this subcommand
  std::function<void()> run;  ///< to be called after parsing
};

/// Adds every subcommand with its own options to `app`. The commands read `shared` when they run.
std::vector<Command> add_commands(CLI::App& app, SharedOptions& shared);

}  // namespace sculpt::bench
