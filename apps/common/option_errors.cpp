#include "apps/common/option_errors.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <vector>

#include "engine/core/nearest_name.h"

namespace sculpt {
namespace {

/// Returns "--out" for an option, "CONFIG.toml" for a positional argument.
std::string name_of(const CLI::Option& option) {
  return option.nonpositional() ? option.get_name() : value_name(option);
}

void collect(const CLI::App& app, std::vector<const CLI::Option*>& options,
             std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    options.push_back(option);
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
    for (const std::string& name : option->get_snames())
      names.push_back("-" + name);
  }
  for (const CLI::App* part : app.get_subcommands({})) {
    if (!part->get_name().empty()) names.push_back(part->get_name());
    collect(*part, options, names);
  }
}

std::vector<std::string> subcommands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* part : app.get_subcommands({}))
    if (!part->get_name().empty()) names.push_back(part->get_name());
  return names;
}

/// Turns "--out=x" into "--out".
std::string without_value(const std::string& word) {
  return word.substr(0, word.find('='));
}

}  // namespace

std::string value_name(const CLI::Option& option) {
  // The name is "N:INT in [1 - 4096]" or "[FORMAT]:{text,markdown}" if the option has a check. In
  // "FIRST:LAST" the colon belongs to the name.
  const std::string name = option.get_type_name();
  const size_t colon = name.find(':');
  return name.find_first_of(" {", std::min(colon, name.size())) == std::string::npos
             ? name
             : name.substr(0, colon);
}

std::string option_error_line(const CLI::App& app, const CLI::ParseError& error,
                              const std::string& program) {
  const std::string text = option_error_text(app, error);
  return fmt::format("{}{} {} --help", text, text.ends_with("?") ? " Run" : "; run", program);
}

std::string option_error_text(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<const CLI::Option*> options;
  std::vector<std::string> names;
  collect(app, options, names);
  const std::string what = error.what();

  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> words = app.remaining(true);
    std::string word = words.empty() ? what : words.front();
    for (const std::string& candidate : words)
      if (candidate.starts_with("-")) {
        word = candidate;
        break;
      }
    const std::string near = nearest(without_value(word), names);
    if (word.starts_with("-"))
      return fmt::format("there is no option {}{}", without_value(word),
                         near.empty() ? "" : fmt::format("; did you mean {}?", near));
    return fmt::format("'{}' is one argument too many", word);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && app.get_subcommands().empty()) {
    // A subcommand that is mistyped is a word that remains.
    const std::vector<std::string> commands = subcommands_of(app), words = app.remaining(true);
    const auto word =
        std::ranges::find_if(words, [](const std::string& w) { return !w.starts_with("-"); });
    if (!commands.empty() && word != words.end()) {
      const std::string near = nearest(*word, commands);
      return near.empty() ? fmt::format("there is no subcommand {}; the subcommands are {}", *word,
                                        fmt::join(commands, ", "))
                          : fmt::format("there is no subcommand {}; did you mean {}?", *word, near);
    }
  }
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    // The message is, for example, "Could not convert: --threads = many".
    const size_t begin = what.find(": "), middle = what.rfind(" = ");
    if (begin != std::string::npos && middle != std::string::npos && begin < middle)
      return fmt::format("{} must be a number, not '{}'",
                         what.substr(begin + 2, middle - begin - 2), what.substr(middle + 3));
  }
  for (const CLI::Option* option : options) {
    const std::string name = name_of(*option);
    if (!what.starts_with(option->get_name() + ":") && !what.starts_with(option->get_name() + " "))
      continue;
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr && option->count() > 1)
      return fmt::format("{} is given {} times; give it once", name, option->count());
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr)
      return fmt::format("{} needs a value ({})", name, value_name(*option));
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr)
      return fmt::format("{} is missing", name);
    // The message is, for example, "--threads: Value 0 not in range [1 - 4096]".
    const size_t reason = what.find(": ");
    if (reason == std::string::npos) continue;
    std::string text = what.substr(reason + 2);
    if (text.starts_with("Value ")) text.erase(0, 6);
    const size_t is_not = text.find(" not in ");
    if (is_not != std::string::npos) text.insert(is_not, " is");
    return fmt::format("{}: {}", name, text);
  }
  return what;
}

}  // namespace sculpt
