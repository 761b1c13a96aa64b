#include "apps/sculpt_analyze/argument_check.h"

#include "apps/common/option_errors.h"
#include "apps/sculpt_analyze/commands.h"
#include "apps/sculpt_run/request.h"

namespace sculpt::analyze {

std::vector<Setting> check_arguments(const std::vector<std::string>& words) {
  CLI::App app{"", "sculpt_analyze"};
  SharedOptions shared;
  add_shared_options(app, shared);
  const std::vector<Command> commands = add_commands(app, shared);  // the parser writes to them
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // the last word comes first
  } catch (const CLI::Success&) {
    throw UsageError("--help prints a text and analyses nothing; leave it out");
  } catch (const CLI::ParseError& error) {
    throw UsageError(option_error_line(app, error, "sculpt_analyze"));
  }
  return shared.settings;
}

}  // namespace sculpt::analyze
