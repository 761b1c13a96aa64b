#pragma once
// Composes messages about wrong arguments of a program. The option parser's own messages use its
// internal terms ("1 required DIR missing"); these messages are sentences like the program's other
// errors.

#include <CLI/CLI.hpp>
#include <string>

namespace sculpt {

/// Returns the message, without "error: ", for an error that `app` threw while parsing. If an
/// argument is unknown, the message names the nearest option.
std::string option_error_text(const CLI::App& app, const CLI::ParseError& error);
/// Returns the same message with the advice to run `program --help`.
std::string option_error_line(const CLI::App& app, const CLI::ParseError& error,
                              const std::string& program);

/// Returns the name of the option's value in texts, such as "DIR"; "" for a flag.
std::string value_name(const CLI::Option& option);

}  // namespace sculpt
