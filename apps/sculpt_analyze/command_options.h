#pragma once
// Options and arguments that several subcommands of sculpt_analyze have.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sculpt::analyze {

/// Adds the argument that names a run folder or a checkpoint. The parser writes to the result,
/// which must outlive parsing.
std::shared_ptr<std::string> add_target(CLI::App& parser, const char* name, const char* help);
/// Adds the argument that names run folders and checkpoints, in the same way.
std::shared_ptr<std::vector<std::string>> add_targets(CLI::App& parser);

struct CountRange {
  int64_t least = 1, most = 1;
};
CLI::Option* add_count(CLI::App& parser, const char* name, int64_t& value, CountRange range,
                       const char* help);

/// Returns a check that a number lies in a range. CLI::Range() lets nan pass.
CLI::Validator in_range(double least, double most);

}  // namespace sculpt::analyze
