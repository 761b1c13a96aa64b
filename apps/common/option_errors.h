#pragma once
// Messages for wrong arguments of a program. The option parser's own texts speak of
// its inside ("1 required DIR missing"); these are sentences like the program's other errors.

#include <CLI/CLI.hpp>
#include <string>

namespace sculpt {

/// The sentence for an error that `app` threw while parsing, without "error: ". For an argument
/// that is not known it names the nearest option.
std::string option_error_text(const CLI::App& app, const CLI::ParseError& error);
/// The same with the advice to run `program --help`.
std::string option_error_line(const CLI::App& app, const CLI::ParseError& error,
                              const std::string& program);

/// Name of the option's value in texts, such as "DIR". The name is empty for a flag.
std::string value_name(const CLI::Option& option);

}  // namespace sculpt
