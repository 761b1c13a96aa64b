#include "apps/sculpt_run/exit_code.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>

#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt {

int exit_code(int code, const char* kept) {
  const int problem = out().error();
  if (problem == 0 || (kept != nullptr && problem == EPIPE)) return code;
  const std::string text =
      fmt::format("cannot write to standard output: {}", std::strerror(problem));
  if (kept != nullptr) {
    warn(fmt::format("{}; {}", text, kept));
    return code;
  }
  say_error(text);
  return kExitFailed;
}

}  // namespace sculpt
