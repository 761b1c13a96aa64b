#pragma once
// Composes what --help prints.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace sculpt {

/// Returns description, usages ("sculpt_run CONFIG.toml [OPTIONS]"), options and footer of a
/// program in `width` columns. Lines of the footer that begin with a blank are indented where they
/// continue.
std::string help_text(const CLI::App& app, const std::vector<std::string>& usages, size_t width);

}  // namespace sculpt
