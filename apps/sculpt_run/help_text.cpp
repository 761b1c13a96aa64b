#include "apps/sculpt_run/help_text.h"

#include <fmt/ranges.h>
#include <sstream>

#include "apps/common/option_errors.h"
#include "apps/sculpt_run/table.h"

namespace sculpt {

std::string help_text(const CLI::App& app, const std::vector<std::string>& usages, size_t width) {
  std::istringstream lines(app.get_footer());
  std::string footer;
  for (std::string line; std::getline(lines, line);)
    footer += wrap(line, width, line.starts_with(" ") ? 4 : 0) + "\n";
  TextTable table({{"", false}, {"", false, TextTable::Fit::wrap}});
  for (const CLI::Option* option : app.get_options()) {
    if (!option->nonpositional()) continue;
    const std::string type = value_name(*option);
    table.add({"  " + option->get_name(false, true) + (type.empty() ? "" : " " + type),
               option->get_description()});
  }
  return wrap(app.get_description(), width) + "\n\n" +
         wrap(fmt::format("Usage: {}", fmt::join(usages, "\n       ")), width) + "\n\n" +
         table.body(width) + footer;
}

}  // namespace sculpt
